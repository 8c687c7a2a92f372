"""Ctrl-C: between two steps of a long change, not in the middle of one; and as the end of a watch."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Interrupt:
    """Whether somebody wants the command to end."""

    is_requested: bool = False

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Note a signal; the second one does not wait for the end of a step.

        Raises:
            KeyboardInterrupt: it is the second one.
        """
        if self.is_requested:
            raise KeyboardInterrupt
        self.is_requested = True


@contextmanager
def deferred_interrupts() -> Iterator[Interrupt]:
    """Note Ctrl-C and SIGTERM instead of raising, so that what is done can be counted exactly."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, interrupt.handle)
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def watching() -> Iterator[None]:
    """Let Ctrl-C end what only watches: the operator has seen enough, and nothing was cut short."""
    with suppress(KeyboardInterrupt):
        yield
