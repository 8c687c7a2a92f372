"""The activity of a worker's consumer, for the relay, and whether the worker is stopping."""

from __future__ import annotations

from dataclasses import dataclass

from celery.worker import state

#: The attribute of a Celery consumer with its `ConsumerActivity`.
ACTIVITY_ATTRIBUTE = "mailctl_activity"


@dataclass
class ConsumerActivity:
    """Counters of one consumer, which only increase."""

    #: The messages that it has received, for whatever app.
    received: int = 0
    #: The connections that it has opened.
    connections: int = 0


def is_stopping() -> bool:
    """Whether the worker is stopping: Celery then has an exit code, even 0, in place of False or None."""
    codes = (state.should_stop, state.should_terminate)
    return any(code is not None and code is not False for code in codes)
