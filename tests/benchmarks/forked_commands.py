"""Commands in forked processes, on a terminal or in a pipe, with the time that each takes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from mailctl import runtime as process
from mailctl.cli.main import main as mailctl
from mailctl.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@dataclass(frozen=True)
class Seen:
    """What a command did."""

    code: int
    out: str
    wall: float
    processor: float


def on_terminal(words: list[str], folder: Path, *, width: int) -> Seen:
    """Run a command on a terminal of that width; what it draws, without colours."""
    size = struct.pack("HHHH", 40, width, 0, 0)
    started = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, size)
        _become(words, folder)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
    printed = _read_all(terminal)
    _, status, used = os.wait4(pid, 0)
    text = _ESCAPES.sub("", printed.decode(errors="replace")).replace("\r\n", "\n")
    wall = time.monotonic() - started
    return Seen(os.waitstatus_to_exitcode(status), text, wall, used.ru_utime + used.ru_stime)


def in_pipe(words: list[str], folder: Path) -> Seen:
    """Run a command whose results a program reads."""
    started = time.monotonic()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, 1)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 2)
        os.dup2(nothing, 0)
        _become(words, folder)
    os.close(writer)
    printed = _read_all(reader)
    _, status, used = os.wait4(pid, 0)
    wall, processor = time.monotonic() - started, used.ru_utime + used.ru_stime
    return Seen(os.waitstatus_to_exitcode(status), printed.decode(errors="replace"), wall, processor)


def _become(words: list[str], folder: Path) -> NoReturn:
    """Run the command in this process, which was forked for it and has imported what it needs."""
    os.chdir(folder)
    for name in ("COLUMNS", *(name.upper() for name in Settings.model_fields)):
        os.environ.pop(name, None)
    os.environ["TERM"] = "xterm"
    try:
        code = mailctl(words)
        process.close()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        code = 99
    os._exit(code)


def _read_all(descriptor: int) -> bytes:
    found = b""
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        while True:
            try:
                part = stream.read(65536)
            except OSError:
                # A terminal whose other side is closed says so this way.
                return found
            if not part:
                return found
            found += part
