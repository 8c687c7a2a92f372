"""The schedule by which messages of other apps return to their queue, and the limits on holding them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RequeueSchedule:
    """The delays before each requeue, and the limits on the messages that a worker holds."""

    #: Seconds before each requeue. They give the worker of the other app time to start, keep this worker from
    #: spinning, and stay below the delivery limit at which a quorum queue deletes a message.
    delays: tuple[float, ...] = (1.0, 10.0, 60.0)
    #: Messages, and bytes of their bodies, that one worker holds. Messages beyond the limits are requeued at
    #: once: otherwise a long queue of another app would fill the memory.
    max_messages: int = 1000
    max_bytes: int = 64 * 1024 * 1024

    def delay_seconds(self, requeue_count: int) -> float | None:
        """Return the delay before the next requeue; None if the message is to be moved aside.

        Args:
            requeue_count: how often the message was requeued before.
        """
        return self.delays[requeue_count] if requeue_count < len(self.delays) else None
