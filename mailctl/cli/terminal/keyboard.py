"""Keys as they are pressed, while something else is shown; the terminal is put back as it was."""

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
    """Waits for keys and for changes of the window.

    Args:
        terminal: the file descriptor of the terminal that keys come from; None where there is none.
        wake: becomes readable with each signal.
    """

    def __init__(self, *, terminal: int | None, wake: int) -> None:
        self._terminal = terminal
        self._wake = wake

    def wait(self, seconds: float) -> str | None:
        """Return the next key; "" when time is up, None when the window has another size.

        Raises:
            KeyboardInterrupt: Ctrl-C, or somebody wants the process to end.
        """
        sources = [self._wake] if self._terminal is None else [self._wake, self._terminal]
        ready, _, _ = select.select(sources, [], [], max(0.0, seconds))
        if self._wake in ready:
            os.read(self._wake, 4096)
            return None
        if self._terminal in ready and self._terminal is not None:
            pressed = os.read(self._terminal, 1)
            if not pressed:
                raise KeyboardInterrupt  # the terminal has gone
            return pressed.decode("ascii", "replace")
        return ""

    def wait_for_quit(self, seconds: float) -> str | None:
        """Wait like `wait`, and take no key but the ends of waiting and `q` for one."""
        until = time.monotonic() + seconds
        while (key := self.wait(until - time.monotonic())) not in ("", "q", "Q", None):
            pass
        return key.lower() if key else key


@contextmanager
def keyboard() -> Iterator[Keyboard]:
    """Take keys without Enter and without showing them; a signal to end raises KeyboardInterrupt."""
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
    # Ctrl-Z would leave the shell with the screen and the keys as they are here.
    now[6][termios.VSUSP] = b"\0"
    undo.callback(termios.tcsetattr, terminal, termios.TCSAFLUSH, before)
    termios.tcsetattr(terminal, termios.TCSADRAIN, now)


def _do_nothing(*_: Any) -> None:
    """Be there, so that the signal wakes who waits."""
