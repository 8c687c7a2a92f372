"""Ctrl-C and SIGTERM: deferred to the end of a transaction, or treated as the normal end of a watch.

They arrive anywhere, also while a library returns a connection to its pool or while an object is destroyed.
"""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Seconds after which an interrupt that arrived while an object was destroyed is raised again.
_RERAISE_SECONDS = 0.05


def install_interrupt_hooks() -> None:
    """Ensure that an interrupt is neither printed as a traceback nor lost, wherever it arrives.

    SQLAlchemy logs an interrupt that arrives while it resets a connection, and raises it as well. The
    interpreter prints an exception that is raised while an object is destroyed, and continues.
    """
    # Imported here, because it takes time.
    import logging

    if logging.lastResort is not None:
        logging.lastResort.addFilter(_is_not_interrupt)
    sys.unraisablehook = _reraise_interrupt


def _is_not_interrupt(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, KeyboardInterrupt)


def _reraise_interrupt(unraisable: sys.UnraisableHookArgs) -> None:
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    # Raised in this hook, it would be printed as well. Only a signal wakes a main thread that is waiting.
    main_thread = threading.main_thread().ident
    again = threading.Timer(_RERAISE_SECONDS, signal.pthread_kill, (main_thread, signal.SIGINT))
    again.daemon = True
    again.start()


@dataclass
class Interrupt:
    """Records whether the command has been asked to stop."""

    #: The signal that asked it to; None if there was none.
    number: int | None = None

    @property
    def is_requested(self) -> bool:
        """Whether there was a signal."""
        return self.number is not None

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Record a signal; a second one stops the command at once.

        Raises:
            KeyboardInterrupt: it is the second signal.
        """
        if self.is_requested:
            raise KeyboardInterrupt
        self.number = number


@contextmanager
def deferred_interrupts() -> Iterator[Interrupt]:
    """Record Ctrl-C and SIGTERM instead of raising, so that the command can stop between transactions."""
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
def uninterrupted_drawing() -> Iterator[None]:
    """Defer Ctrl-C and SIGTERM until the drawing is complete, so that no later line is printed into it."""
    with deferred_interrupts() as interrupt:
        yield
    if interrupt.number is not None:
        signal.raise_signal(interrupt.number)


@contextmanager
def watching() -> Iterator[None]:
    """Let Ctrl-C end a command that only displays something, without an error."""
    with suppress(KeyboardInterrupt):
        yield
