"""The standard streams: always open, and able to print any character in some form."""

from __future__ import annotations

import codecs
import os
import sys
import unicodedata
from typing import TextIO

#: The name of the codec error handler of stdout and stderr.
_SUBSTITUTE = "mailctl.substitute"
#: Substitutes, one cell wide like the originals, for characters that mailctl prints or that names contain.
_EQUIVALENTS = {
    **dict(zip("▁▂▃▄▅▆▇█", ".:-=+*%#", strict=True)),
    **dict(zip("▏▎▍▌▋▊▉", "...::::", strict=True)),
    **dict.fromkeys("…·•", "."),
    **dict.fromkeys("\u2018\u2019\u2032", "'"),
    **dict.fromkeys("→\u203a", ">"),
    **dict.fromkeys("←\u2039", "<"),
}
#: Substitutes by Unicode category: dashes, spaces, quotation marks.
_EQUIVALENT_CATEGORIES = {"Pd": "-", "Zs": " ", "Pi": '"', "Pf": '"'}


def prepare() -> None:
    """Open the standard streams that are closed, and replace characters that their encoding lacks.

    A closed stream is connected to the null device. If its file descriptor stayed free, the delivery log
    could be opened under it and receive output meant for the screen.
    """
    for number in range(3):
        _ensure_open(number)
    sys.stdin = sys.stdin or _reader(0)
    sys.stdout = sys.stdout or _writer(1)
    sys.stderr = sys.stderr or _writer(2)
    codecs.register_error(_SUBSTITUTE, _substitute)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors=_SUBSTITUTE)


def is_unicode(stream: TextIO) -> bool:
    """Whether a stream can encode every character."""
    return (stream.encoding or "utf-8").lower().startswith("utf")


def _ensure_open(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


def _reader(number: int) -> TextIO:
    return open(number, encoding="utf-8", closefd=False)


def _writer(number: int) -> TextIO:
    return open(number, "w", encoding="utf-8", closefd=False)


def _substitute(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks by as many cells of text."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_substitute_for(char) for char in error.object[error.start : error.end]), error.end


def _substitute_for(char: str) -> str:
    category = unicodedata.category(char)
    known = _EQUIVALENTS.get(char) or _EQUIVALENT_CATEGORIES.get(category)
    return known or "?" * _cells(char)


def _cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
