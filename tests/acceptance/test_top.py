"""`mailctl top` on a real terminal, and what is left of it there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Any, Self

import pyte
import pytest

from tests.acceptance.terminal import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.terminal import Terminal


class Screen:
    """A terminal window of some size in which `mailctl top` runs.

    Args:
        terminal: whose folder it runs in.
        columns: the width; it is 24 lines high.
    """

    def __init__(self, terminal: Terminal, *, columns: int, arguments: tuple[str, ...] = ()) -> None:
        self._outer, self._inner = pty.openpty()
        self._screen = pyte.Screen(columns, 24)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        self.resize(columns)
        self.modes_before = termios.tcgetattr(self._inner)
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mailctl", "top", "--interval", "0.3", *arguments],
            cwd=terminal.folder,
            env=environment | {"TERM": "xterm-256color"},
            stdin=self._inner,
            stdout=self._inner,
            stderr=self._inner,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._outer)
        os.close(self._inner)

    @property
    def lines(self) -> list[str]:
        """What one sees."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def modes(self) -> list[Any]:
        """How the terminal takes keys."""
        return termios.tcgetattr(self._inner)

    def resize(self, columns: int) -> None:
        """Make the window as wide."""
        fcntl.ioctl(self._outer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._screen.resize(24, columns)

    def press(self, key: bytes) -> None:
        """Press a key."""
        os.write(self._outer, key)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Read what is written until a condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "\n".join(self.lines)
            self._read()

    def wait_for_end(self) -> int:
        """Wait for the end, and return the exit code."""
        self.wait_until(lambda: self.process.poll() is not None)
        while self._read():
            pass
        return self.process.wait()

    def _read(self) -> bool:
        if not select.select([self._outer], [], [], 0.1)[0]:
            return False
        data = os.read(self._outer, 65536)
        self.written += data
        self._stream.feed(data)
        return True

    def assert_as_before(self) -> None:
        """Check that the terminal was given back: keys, cursor, and the screen that was there."""
        assert self.modes == self.modes_before
        assert self.written.rindex(b"\x1b[?1049l") > self.written.rindex(b"\x1b[?1049h")
        assert self.written.rindex(b"\x1b[?25h") > self.written.rindex(b"\x1b[?25l")


@pytest.mark.parametrize("columns", [60, 140])
def test_q_leaves_and_everything_is_as_before(terminal: Terminal, columns: int) -> None:
    """In a narrow and in a wide window; a change of size is followed."""
    terminal.send("welcome", "--user-id", "1")
    with Screen(terminal, columns=columns) as screen:
        screen.wait_until(lambda: any(line.startswith("celery ") for line in screen.lines))
        assert "q quits" in screen.lines[0]
        assert "no worker is alive" in "\n".join(screen.lines)
        assert screen.modes != screen.modes_before
        screen.resize(columns + 20)
        screen.process.send_signal(signal.SIGWINCH)
        screen.wait_until(lambda: len(screen.lines[0]) == columns + 20)
        screen.press(b"x")
        screen.press(b"q")
        assert screen.wait_for_end() == 0
        screen.assert_as_before()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_it_as_before_too(terminal: Terminal, number: signal.Signals) -> None:
    """Exit code 130."""
    terminal.send("welcome", "--user-id", "1")
    with Screen(terminal, columns=80) as screen:
        screen.wait_until(lambda: any(line.startswith("celery ") for line in screen.lines))
        screen.process.send_signal(number)
        assert screen.wait_for_end() == 130
        screen.assert_as_before()


def test_a_log_that_goes_away_is_told_and_waited_for(terminal: Terminal) -> None:
    """What was seen last stays, and is said not to be current."""
    terminal.send("welcome", "--user-id", "1")
    log = terminal.folder / ".mailctl" / "mailctl.db"
    with Screen(terminal, columns=80) as screen:
        screen.wait_until(lambda: any(line.startswith("celery ") for line in screen.lines))
        content = log.read_bytes()
        log.write_bytes(b"not a database" * 1000)
        screen.wait_until(lambda: "not current" in "\n".join(screen.lines))
        assert any(line.startswith("celery ") for line in screen.lines)
        log.write_bytes(content)
        screen.press(b"q")
        assert screen.wait_for_end() == 0
        screen.assert_as_before()


def test_a_pipe_gets_one_look_or_as_many_lines_as_wished(terminal: Terminal) -> None:
    """Text once, or JSON a line a look, without a single control character."""
    terminal.send("welcome", "--user-id", "1")
    once = terminal.run("top")
    assert (once.code, "recorded       1/min" in once.out, "\x1b" in once.out) == (0, True, False)
    twice = terminal.run("top", "--json", "--count", "2", "--interval", "0.1")
    assert [look["queues"][0]["depth"] for look in twice.lines] == [1, 1]
