"""Queues, their pauses and their messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mailctl.delivery_log.pauses import PauseScope
from mailctl.domain.states import State
from mailctl.views.base import Count, PerMinute, Seconds, Timestamp, View, round_figure

if TYPE_CHECKING:
    from mailctl.delivery_log.pauses import Pause
    from mailctl.monitoring.queues import PeekResult, QueueEntry, QueueList, QueueStatus


class PauseView(View):
    """A queue, a kind of email or a campaign that an operator has paused."""

    scope: PauseScope
    name: str
    reason: str | None
    actor: str | None
    since: Timestamp

    @classmethod
    def of(cls, pause: Pause) -> PauseView:
        """Return the view of a pause."""
        return cls(
            scope=pause.scope,
            name=pause.name,
            reason=pause.reason or None,
            actor=pause.actor,
            since=pause.since,
        )


class PauseChangeView(PauseView):
    """The result of pausing or resuming a queue, a kind or a campaign."""

    is_paused: bool
    waiting: Count = Field(description="Emails that are waiting to be sent.")
    sending: Count = Field(description="Emails that workers have taken; a pause does not stop them.")

    @classmethod
    def of_change(cls, pause: Pause, *, is_paused: bool, waiting: int, sending: int) -> PauseChangeView:
        """Return the view of a change.

        Args:
            pause: the pause that began or ended.
            is_paused: whether it is in effect now.
            waiting: how many emails it concerns.
            sending: how many workers have taken, which it does not stop.
        """
        return cls(**dict(PauseView.of(pause)), is_paused=is_paused, waiting=waiting, sending=sending)


class BrokerQueueView(View):
    """A queue as the broker reports it; null where the broker does not report a value."""

    ready: int | None = Field(description="Messages that no worker has taken.")
    unacked: int | None = Field(description="Messages that workers have not acknowledged.")
    foreign: int | None = Field(description="Messages that are not in the delivery log.")
    inspected: int | None = Field(description="Messages that were inspected.")


class QueueView(View):
    """A queue; what is not known is null."""

    queue: str
    depth: Count = Field(description="Emails that are due and not finished.")
    pending: Count
    queued: Count
    in_flight: Count
    scheduled: Count
    deferred: Count
    held: Count
    oldest_age_seconds: Seconds | None
    in_per_minute: PerMinute
    out_per_minute: PerMinute
    seconds_to_empty: Seconds | None = Field(
        description="Null if that is not known, as while it is paused, or nobody sends its emails."
    )
    workers: Count = Field(description="Live workers that consume the queue.")
    paused: PauseView | None
    broker: BrokerQueueView | None = Field(description="Null if the broker was not queried.")
    foreign: Count = Field(description="Messages on the broker that are not in the delivery log.")
    unclaimed: Count | None = Field(
        description="Messages of other apps that a worker moved aside because nobody took them."
    )

    @classmethod
    def of(cls, queue: QueueStatus) -> QueueView:
        """Return the view of a queue."""
        in_log = queue.log_depth
        return cls(
            queue=queue.name,
            depth=queue.depth,
            pending=in_log.pending,
            queued=in_log.queued,
            in_flight=queue.in_flight,
            scheduled=in_log.scheduled,
            deferred=in_log.deferred,
            held=in_log.held,
            oldest_age_seconds=round_figure(queue.oldest_age_seconds),
            in_per_minute=round(queue.rate.incoming, 2),
            out_per_minute=round(queue.rate.outgoing, 2),
            seconds_to_empty=round_figure(queue.seconds_to_empty),
            workers=queue.workers,
            paused=PauseView.of(queue.pause) if queue.pause else None,
            broker=_broker_queue(queue),
            foreign=_foreign(queue),
            unclaimed=queue.unclaimed,
        )


class QueueListView(View):
    """All queues."""

    queues: list[QueueView]
    paused_kinds: list[PauseView]
    learned_limits: list[str] = Field(
        description="The rates learned from mail servers that refused messages, in sentences."
    )
    broker_error: str | None = Field(description="Why the broker could not be queried; null if it answered.")

    @classmethod
    def of(cls, queues: QueueList) -> QueueListView:
        """Return the view of all queues."""
        return cls(
            queues=[QueueView.of(queue) for queue in queues.queues],
            paused_kinds=[PauseView.of(pause) for pause in queues.paused_kinds],
            learned_limits=list(queues.learned_limits),
            broker_error=queues.broker_error.message if queues.broker_error else None,
        )


class QueueEntryView(View):
    """An email or a message that waits in a queue; what is not known is null."""

    queue: str
    position: int = Field(description="From 1.", json_schema_extra={"minimum": 1})
    task_id: str | None
    kind: str | None
    state: State | None = Field(description="Null for a message that is not in the delivery log.")
    to: str | None = Field(description="The address, masked.")
    age_seconds: Seconds | None
    attempts: int | None
    on_broker: bool = Field(description="False for an email that is only in the delivery log.")

    @classmethod
    def of(cls, queue: PeekResult, entry: QueueEntry) -> QueueEntryView:
        """Return the view of an entry of a queue."""
        return cls(
            queue=queue.queue,
            position=entry.position,
            task_id=entry.task_id,
            kind=entry.kind,
            state=State(entry.state) if entry.state else None,
            to=entry.to,
            age_seconds=round_figure(entry.age_seconds),
            attempts=entry.attempts,
            on_broker=entry.is_on_broker,
        )


class RestoreView(View):
    """The result of putting unclaimed messages back on a queue."""

    queue: str
    unclaimed: Count = Field(description="Messages that were found.")
    restored: Count


def _broker_queue(queue: QueueStatus) -> BrokerQueueView | None:
    broker = queue.on_broker
    if broker is None:
        return None
    return BrokerQueueView(
        ready=broker.ready,
        unacked=None if broker.unacked is None else len(broker.unacked),
        foreign=None if broker.messages is None else _foreign(queue),
        inspected=None if broker.messages is None else len(broker.messages),
    )


def _foreign(queue: QueueStatus) -> int:
    return queue.unlogged_ready + queue.unlogged_unacked
