"""How mail without a standard report is recognised (`wording.toml`); only this module reads its wording."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


def says(section: str, name: str, text: str) -> bool:
    """Whether a text matches any expression of the table.

    Args:
        section: the section of the table, such as `bounce`.
        name: the list in the section, such as `subjects`.
        text: the text, of any length.
    """
    return bool(_expression(section, name).search(text))


def auto_reply_headers() -> tuple[str, ...]:
    """Return the names of the header fields that only automatic replies have."""
    return tuple(_table()["auto_reply"]["headers"])


def is_permanent(text: str, *, code: int | None, enhanced: str | None) -> bool | None:
    """Return whether a bounce calls itself permanent: by its codes, or else by its text.

    A status such as 5.0.0 is no reason: programs that have given up for any reason use it (RFC 3463 section
    3.1). What the remote server has replied counts then.

    Args:
        text: what the program says, without the message that it returns.
        code: the reply code of the remote server; None if there is none.
        enhanced: the enhanced status code; None if there is none.

    Returns:
        None if neither tells.
    """
    is_exact = enhanced is not None and not enhanced.endswith(".0.0")
    if is_exact or code is not None:
        return str(enhanced if is_exact else code).startswith("5")
    if says("full", "texts", text):
        return False
    return True if says("dead", "texts", text) else None


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("mailctl.feedback").joinpath("wording.toml").read_text(encoding="utf-8"))


@cache
def _expression(section: str, name: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in _table()[section][name]), re.IGNORECASE)
