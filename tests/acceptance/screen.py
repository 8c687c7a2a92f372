"""A terminal window: a command runs in a real pty, and an emulator says what one sees of it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Any, Self

import pyte

from tests.acceptance.forked import Forked, Start
from tests.acceptance.terminal import PATIENCE

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping
    from pathlib import Path

#: Escape sequences of a terminal: colours, cursor movements, modes.
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_])")
#: What spinners and progress bars are drawn with.
MOTION = re.compile("[\u2800-\u28ff\u2501\u257a\u2578]")


class Screen:
    """A terminal window in which one command runs; stdin, stdout and stderr are all this terminal.

    Args:
        folder: where it runs.
        arguments: of `mailctl`.
        columns: the width of the window.
        lines: its height.
        environment: variables besides those of the test's own process.
        is_forked: whether its process is forked from one that has imported mailctl: faster than a new one.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        columns: int = 80,
        lines: int = 24,
        environment: Mapping[str, str] | None = None,
        is_forked: bool = False,
    ) -> None:
        self._outer, self._inner = pty.openpty()
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._lines: list[str] | None = None
        self.written = b""
        self.resize(columns, lines)
        self.modes_before = termios.tcgetattr(self._inner)
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        variables = inherited | {"TERM": "xterm-256color"} | dict(environment or {})
        self.process = (
            Forked(Start.on_terminal(os.ttyname(self._inner), arguments, folder, variables))
            if is_forked
            else subprocess.Popen(
                [sys.executable, "-m", "mailctl", *arguments],
                cwd=folder,
                env=variables,
                stdin=self._inner,
                stdout=self._inner,
                stderr=self._inner,
                start_new_session=True,
            )
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
        # The emulator looks at every cell of the window: once for what was written is enough.
        if self._lines is None:
            self._lines = [line.rstrip() for line in self._screen.display]
        return self._lines

    @property
    def text(self) -> str:
        """What one sees, without the empty lines at the end."""
        return "\n".join(self.lines).rstrip()

    @property
    def printed(self) -> list[str]:
        """The lines as they were written, without escape sequences; what was drawn over is in them, too."""
        text = ESCAPES.sub("", self.written.decode(errors="replace")).replace("\r\n", "\n")
        return [line.rpartition("\r")[2] for line in text.split("\n")]

    @property
    def has_cursor(self) -> bool:
        """Whether the cursor can be seen."""
        return not self._screen.cursor.hidden

    @property
    def modes(self) -> list[Any]:
        """How the terminal takes keys."""
        return termios.tcgetattr(self._inner)

    def resize(self, columns: int, lines: int = 24) -> None:
        """Give the window another size."""
        fcntl.ioctl(self._outer, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen.resize(lines, columns)
        self._lines = None

    def press(self, key: bytes) -> None:
        """Press a key."""
        os.write(self._outer, key)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the command."""
        os.kill(self.process.pid, number)

    def wait_until(self, condition: Callable[[], bool], *, every: float = 0.1) -> None:
        """Read what is written until a condition holds, which is looked at after so many seconds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.text
            self._read(every)

    def wait_for(self, text: str) -> None:
        """Read what is written until something can be seen."""
        self.wait_until(lambda: text in self.text or self.process.poll() is not None)
        assert text in self.text, self.text

    def wait_for_end(self) -> int:
        """Wait for the end, and return the exit code."""
        self.wait_until(lambda: self.process.poll() is not None)
        while self._read(0):
            pass
        return self.process.wait()

    def _read(self, seconds: float) -> bool:
        if not select.select([self._outer], [], [], seconds)[0]:
            return False
        data = os.read(self._outer, 65536)
        self.written += data
        self._stream.feed(data)
        self._lines = None
        return True

    def assert_as_before(self) -> None:
        """Check that the terminal was given back: keys, cursor, and the screen that was there."""
        assert self.modes == self.modes_before
        assert self.has_cursor
        assert self.written.count(b"\x1b[?1049l") == self.written.count(b"\x1b[?1049h")
