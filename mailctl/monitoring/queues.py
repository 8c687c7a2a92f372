"""The queues: what waits in each, how fast it flows, what comes next; by the log and by the broker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.queue_stats import QueueDepth, QueueRate, QueueStats
from mailctl.errors import BrokerUnavailable
from mailctl.redaction import mask_address
from mailctl.settings import BULK_QUEUE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mailctl.broker.messages import BrokerQueue, CeleryMessage
    from mailctl.delivery_log.pauses import Pause
    from mailctl.domain.models import Email
    from mailctl.errors import MailctlError
    from mailctl.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class QueueStatus:
    """One queue at one moment."""

    log_depth: QueueDepth
    rate: QueueRate
    #: Living workers of this log that consume it.
    workers: int
    #: What stops its sending, if an operator has.
    pause: Pause | None
    #: None where the broker could not be asked, or is private to each process.
    on_broker: BrokerQueue | None
    #: Messages that the log knows nothing of: those that wait, and those that workers have.
    unlogged_ready: int
    unlogged_unacked: int
    at: datetime

    @property
    def unclaimed(self) -> int | None:
        """Messages of other apps that nobody took and a worker moved aside; None where that is not known."""
        return None if self.on_broker is None else self.on_broker.unclaimed

    @property
    def name(self) -> str:
        """The queue's."""
        return self.log_depth.queue

    @property
    def depth(self) -> int:
        """How many wait to be sent now."""
        return self.log_depth.pending + self.log_depth.queued + self.unlogged_ready

    @property
    def in_flight(self) -> int:
        """How many are being sent."""
        return self.log_depth.sending + self.unlogged_unacked

    @property
    def oldest_age_seconds(self) -> float | None:
        """How long the one has waited that has waited longest; None if none does that the log knows."""
        since = self.log_depth.waiting_since
        return None if since is None else max(0.0, (self.at - since).total_seconds())

    @property
    def seconds_to_empty(self) -> float | None:
        """How long what waits now will take at the rate of the last minutes; None while nothing goes out."""
        if not self.depth:
            return 0.0
        return self.depth / self.rate.outgoing * 60 if self.rate.outgoing else None


@dataclass(frozen=True, kw_only=True)
class QueueList:
    """All queues."""

    queues: tuple[QueueStatus, ...]
    #: Kinds whose sending is stopped, whatever their queue.
    paused_kinds: tuple[Pause, ...]
    #: Why the broker could not be asked; then only what the log knows is here.
    broker_error: MailctlError | None


@dataclass(frozen=True, kw_only=True)
class QueueEntry:
    """One of those that come next in a queue."""

    position: int
    #: None for a message that is not one of Celery's.
    task_id: str | None
    kind: str | None
    #: By the log; None if it does not know it.
    state: str | None
    age_seconds: float | None
    attempts: int | None
    #: Masked.
    to: str | None
    #: Whether it is on the broker; else it is only in the log yet.
    is_on_broker: bool


@dataclass(frozen=True, kw_only=True)
class PeekResult:
    """Those that come next in a queue, in order."""

    queue: str
    entries: tuple[QueueEntry, ...]
    broker_error: MailctlError | None


class Queues:
    """Answers questions about queues.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._flow = QueueStats(runtime.engine)

    def list_queues(self) -> QueueList:
        """Return all queues: those of the log, the workers and the settings, and what the broker has of them.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        stock, rates = self._flow.depths(), self._flow.rates()
        consumed = self._consumed_queues()
        pauses = self._runtime.pauses.read()
        stopped = {pause.name: pause for pause in pauses if pause.scope == "queue"}
        names = dict.fromkeys([*self._default_queues, *sorted({*stock, *rates, *consumed, *stopped})])
        found, trouble = self._inspect_broker(names)
        known = self._known_ids([message for each in found.values() for message in _all_messages(each)])
        now = datetime.now(UTC)
        queues = (
            QueueStatus(
                log_depth=stock.get(name) or _empty_depth(name),
                rate=rates.get(name, QueueRate()),
                workers=consumed.count(name),
                pause=stopped.get(name),
                on_broker=found.get(name),
                unlogged_ready=_count_unlogged(found.get(name), known, in_workers=False),
                unlogged_unacked=_count_unlogged(found.get(name), known, in_workers=True),
                at=now,
            )
            for name in dict.fromkeys([*names, *found])
        )
        kinds = tuple(pause for pause in pauses if pause.scope == "kind")
        return QueueList(queues=tuple(queues), paused_kinds=kinds, broker_error=trouble)

    def names(self) -> list[str]:
        """Return the queues that emails go to or that workers of this log consume.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        return list(
            dict.fromkeys([*self._default_queues, *sorted({*self._flow.depths(), *self._consumed_queues()})])
        )

    def peek(self, queue: str | None = None, *, limit: int) -> PeekResult:
        """Return those that come next: on Redis in the order of its lists, then what only the log has yet.

        Args:
            queue: None takes the default queue.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        name = queue or self._runtime.settings.celery_queue_default
        found, trouble = self._inspect_broker([name])
        messages = (found[name].messages or ()) if name in found else ()
        by_log = self._flow.next_emails(name, limit=limit)
        if not messages:
            return PeekResult(queue=name, entries=_numbered_entries(by_log, start=1), broker_error=trouble)
        shown = messages[:limit]
        known = self._flow.find_known(_ids(shown))
        waiting = tuple(
            _from_message(message, known, position=position) for position, message in enumerate(shown, 1)
        )
        unpublished = [email for email in by_log if email.queued_at is None]
        more = _numbered_entries(unpublished[: limit - len(waiting)], start=len(waiting) + 1)
        return PeekResult(queue=name, entries=waiting + more, broker_error=trouble)

    @property
    def _default_queues(self) -> tuple[str, ...]:
        return (self._runtime.settings.celery_queue_default, BULK_QUEUE)

    def _consumed_queues(self) -> list[str]:
        return [queue for worker in self._runtime.workers.list_alive() for queue in worker.queues]

    def _inspect_broker(self, names: Collection[str]) -> tuple[dict[str, BrokerQueue], MailctlError | None]:
        if self._runtime.settings.is_broker_private:
            return {}, None
        from mailctl.broker.inspector import BrokerInspector

        broker = BrokerInspector(self._runtime.app)
        try:
            return ({} if broker.is_in_memory else broker.inspect_queues(names)), None
        except BrokerUnavailable as error:
            return {}, error

    def _known_ids(self, messages: Collection[CeleryMessage]) -> frozenset[str]:
        return frozenset(self._flow.find_known(_ids(messages)))


def _ids(messages: Collection[CeleryMessage]) -> list[str]:
    found = (email_id for message in messages for email_id in (message.task_id, *message.email_ids))
    return [email_id for email_id in dict.fromkeys(found) if email_id]


def _all_messages(found: BrokerQueue) -> tuple[CeleryMessage, ...]:
    return (found.messages or ()) + (found.unacked or ())


def _count_unlogged(found: BrokerQueue | None, known: frozenset[str], *, in_workers: bool) -> int:
    """Count the messages that the log knows nothing of."""
    if found is None:
        return 0
    messages = (found.unacked if in_workers else found.messages) or ()
    return sum(known.isdisjoint((message.task_id, *message.email_ids)) for message in messages)


def _empty_depth(queue: str) -> QueueDepth:
    return QueueDepth(
        queue=queue, pending=0, queued=0, sending=0, scheduled=0, deferred=0, held=0, waiting_since=None
    )


def _from_message(message: CeleryMessage, known: Mapping[str, Email], *, position: int) -> QueueEntry:
    email = known.get(message.task_id)
    if email is not None:
        return _from_email(email, position=position)
    is_batch = len(message.email_ids) > 1
    return QueueEntry(
        position=position,
        task_id=message.task_id or None,
        kind=f"{len(message.email_ids)} of a campaign" if is_batch else message.kind or message.task or None,
        state=None,
        age_seconds=None,
        attempts=None,
        to=mask_address(message.to) if message.to else None,
        is_on_broker=True,
    )


def _from_email(email: Email, *, position: int) -> QueueEntry:
    age = datetime.now(UTC) - email.created_at
    return QueueEntry(
        position=position,
        task_id=email.id,
        kind=email.kind,
        state=email.state,
        age_seconds=max(0.0, age.total_seconds()),
        attempts=email.attempts,
        to=mask_address(email.to),
        is_on_broker=email.queued_at is not None,
    )


def _numbered_entries(emails: Collection[Email], *, start: int) -> tuple[QueueEntry, ...]:
    return tuple(_from_email(email, position=position) for position, email in enumerate(emails, start))
