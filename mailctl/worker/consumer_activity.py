"""The activity of a worker's consumer, by which the relay sees that it takes no messages."""

from __future__ import annotations

from dataclasses import dataclass

#: The attribute of a Celery consumer with its `ConsumerActivity`.
ACTIVITY_ATTRIBUTE = "mailctl_activity"


@dataclass
class ConsumerActivity:
    """Counters of one consumer, which only increase."""

    #: The messages that it has received, for whatever app.
    received: int = 0
    #: The connections that it has opened.
    connections: int = 0
