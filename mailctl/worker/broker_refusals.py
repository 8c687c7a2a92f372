"""Refusals of the broker: the worker logs what is refused, and connects again after a pause.

Redis refuses commands when a key has another type than expected, when it is out of memory, and after a
failover; RabbitMQ refuses a queue that exists with other properties. Without this a worker exits.
"""

from __future__ import annotations

import logging
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.state import maybe_shutdown

from mailctl.broker.connection import error_reason
from mailctl.broker.refusals import refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("mailctl.worker")
#: Seconds before the worker connects again: the first pause, and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 10.0
#: Seconds without a refusal after which the next pause is the shortest again.
_RESET_SECONDS = 60.0
#: Seconds between two checks of a pausing worker whether it has to stop.
_STEP_SECONDS = 0.2


class RefusedByBroker(ConnectionError):
    """The broker has refused a request of the worker; the text contains only the reason."""


def reconnect_after_refusals(consumer: Any) -> None:
    """Make a Celery consumer connect again, after a pause, when the broker refuses a request."""
    consumer.app.conf.broker_channel_error_retry = True
    pauses = RefusalPauses()
    for name in ("on_connection_error_after_connected", "on_connection_error_before_connected"):
        setattr(consumer, name, partial(pauses.pause, getattr(consumer, name)))


class RefusalPauses:
    """Pauses a worker after each refusal, for longer each time.

    Args:
        wait: waits for a number of seconds, or until the worker has to stop.
        clock: returns seconds that only increase.
    """

    def __init__(
        self, wait: Callable[[float], None] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._wait = wait or _wait_unless_stopping
        self._clock = clock
        self._seconds = _FIRST_PAUSE
        self._resumed_at = clock()

    def pause(self, reconnect: Callable[[Exception], None], error: Exception) -> None:
        """Log an error and wait if it is a refusal; then let the worker connect again.

        Args:
            reconnect: Celery's handler of the error, which logs its text.
            error: the error that ended the connection.
        """
        refusal = refusal_of(error)
        if refusal is not None:
            # redis-py quotes the command that failed, which may contain a message.
            error = RefusedByBroker(refusal.reason or error_reason(error))
            seconds = self._next_seconds()
            _log.error(
                "the broker refuses a request of this worker: %s. %s Trying again in %g s.",
                error,
                refusal.fix,
                seconds,
            )
            self._wait(seconds)
            self._resumed_at = self._clock()
        with warnings.catch_warnings():
            # About tasks that a later version of Celery will cancel: it takes eight lines each time.
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            reconnect(error)

    def _next_seconds(self) -> float:
        if self._clock() - self._resumed_at > _RESET_SECONDS:
            self._seconds = _FIRST_PAUSE
        seconds, self._seconds = self._seconds, min(self._seconds * 2, _LONGEST_PAUSE)
        return seconds


def _wait_unless_stopping(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        maybe_shutdown()
        time.sleep(_STEP_SECONDS)
