"""Single key presses while a full-screen display is shown; restores the terminal afterwards."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Keyboard:
    """Waits for key presses and window size changes.

    Args:
        terminal: file descriptor of the terminal to read keys from; None if stdin is not a terminal.
        wake: file descriptor that becomes readable with each signal.
    """

    def __init__(self, *, terminal: int | None, wake: int) -> None:
        self._terminal = terminal
        self._wake = wake

    def wait(self, seconds: float) -> str | None:
        """Return the next key, "" after the timeout, or None after a change of the window size.

        Raises:
            KeyboardInterrupt: Ctrl-C, SIGTERM, or the terminal has been closed.
        """
        sources = [self._wake] if self._terminal is None else [self._wake, self._terminal]
        ready, _, _ = select.select(sources, [], [], max(0.0, seconds))
        if self._wake in ready:
            os.read(self._wake, 4096)
            return None
        if self._terminal in ready and self._terminal is not None:
            pressed = os.read(self._terminal, 1)
            if not pressed:
                raise KeyboardInterrupt  # the terminal has been closed
            return pressed.decode("ascii", "replace")
        return ""

    def wait_for_quit(self, seconds: float) -> str | None:
        """Wait like `wait`, ignoring every key except `q`, which is returned in lower case."""
        until = time.monotonic() + seconds
        while (key := self.wait(until - time.monotonic())) not in ("", "q", "Q", None):
            pass
        return key.lower() if key else key


@contextmanager
def keyboard() -> Iterator[Keyboard]:
    """Read keys without Enter and without echo; SIGTERM raises KeyboardInterrupt meanwhile."""
    with ExitStack() as undo:
        wake, alarm = os.pipe()
        for end in (wake, alarm):
            os.set_blocking(end, False)
            undo.callback(os.close, end)
        undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(alarm, warn_on_full_buffer=False))
        for number, action in (
            (signal.SIGTERM, signal.default_int_handler),
            (signal.SIGWINCH, _do_nothing),
        ):
            undo.callback(signal.signal, number, signal.signal(number, action))
        terminal = sys.stdin.fileno() if sys.stdin.isatty() else None
        if terminal is not None:
            _enter_cbreak_mode(terminal, undo)
        yield Keyboard(terminal=terminal, wake=wake)


def _enter_cbreak_mode(terminal: int, undo: ExitStack) -> None:
    import termios

    before = termios.tcgetattr(terminal)
    now = termios.tcgetattr(terminal)
    now[3] &= ~(termios.ECHO | termios.ICANON)
    # Ctrl-Z would leave the shell without echo, on the alternate screen.
    now[6][termios.VSUSP] = b"\0"
    undo.callback(termios.tcsetattr, terminal, termios.TCSAFLUSH, before)
    termios.tcsetattr(terminal, termios.TCSADRAIN, now)


def _do_nothing(*_: Any) -> None:
    """Handle a signal whose only purpose is to wake `Keyboard.wait`."""
