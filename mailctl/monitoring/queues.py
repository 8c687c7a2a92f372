"""The queues: depth, rates and next emails of each, from the delivery log and the broker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.delivery_log.pauses import PauseScope
from mailctl.delivery_log.queries.queue_stats import QueueDepth, QueueRate, QueueStats
from mailctl.delivery_log.queries.unfinished import count_unfinished
from mailctl.delivery_log.send_limits import read_learned_limits
from mailctl.diagnosis.default_queues import default_queues
from mailctl.errors import BrokerUnavailable
from mailctl.recorder.task_results import record_results
from mailctl.security.address_masking import mask_address
from mailctl.settings import BULK_QUEUE, GROUPS_QUEUE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mailctl.broker.messages import BrokerQueue, CeleryMessage
    from mailctl.delivery_log.pauses import Pause
    from mailctl.domain.models import Email
    from mailctl.errors import MailctlError
    from mailctl.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class QueueStatus:
    """The status of one queue at one moment."""

    log_depth: QueueDepth
    rate: QueueRate
    #: The number of live workers that share this log and consume the queue; with an app of the service, all
    #: of its workers count.
    workers: int
    #: The pause that an operator has set, if any.
    pause: Pause | None
    #: None if the broker could not be queried, or is private to each process.
    on_broker: BrokerQueue | None
    #: Messages without an email in the log: those on the broker, and those that workers hold.
    unlogged_ready: int
    unlogged_unacked: int
    at: datetime
    #: Whether emails of a paused kind or campaign wait in it.
    has_paused_emails: bool = False
    #: Whether the broker was asked and did not answer.
    is_broker_down: bool = False

    @property
    def unclaimed(self) -> int | None:
        """The number of messages of other apps that a worker moved aside; None if it is not known."""
        return None if self.on_broker is None else self.on_broker.unclaimed

    @property
    def name(self) -> str:
        """The name of the queue."""
        return self.log_depth.queue

    @property
    def depth(self) -> int:
        """The number of emails that are due now and not finished; messages without an email do not count."""
        return self.log_depth.depth

    @property
    def ready(self) -> int:
        """The number of emails, and of messages without an email, that no worker has taken yet."""
        return self.log_depth.pending + self.log_depth.queued + self.unlogged_ready

    @property
    def in_flight(self) -> int:
        """The number of emails, and of messages without an email, that workers are handling."""
        return self.log_depth.sending + self.unlogged_unacked

    @property
    def oldest_age_seconds(self) -> float | None:
        """How long the oldest email has waited, not counting scheduled and held ones; None if none waits."""
        since = self.log_depth.waiting_since
        return None if since is None else max(0.0, (self.at - since).total_seconds())

    @property
    def seconds_to_empty(self) -> float | None:
        """How long it takes to send what is ready or deferred, at the recent rate.

        None while the queue or emails in it are paused, if no worker consumes it, if the broker does not
        answer, or if nothing was sent recently.
        """
        waiting = self.ready + self.log_depth.deferred
        if not waiting:
            return 0.0
        is_paused = self.pause is not None or self.has_paused_emails
        is_moving = self.rate.outgoing and not self.rate.has_stalled
        if is_paused or not self.workers or self.is_broker_down or not is_moving:
            return None
        return waiting / self.rate.outgoing * 60


@dataclass(frozen=True, kw_only=True)
class QueueList:
    """The status of all queues."""

    queues: tuple[QueueStatus, ...]
    #: Pauses of kinds and campaigns; they apply to every queue.
    paused_kinds: tuple[Pause, ...]
    #: Why the broker could not be queried; the list then holds only what the log knows.
    broker_error: MailctlError | None
    #: The rates learned from mail servers, in sentences.
    learned_limits: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class QueueEntry:
    """One of the next emails or messages of a queue."""

    position: int
    #: None for a message that Celery did not publish.
    task_id: str | None
    kind: str | None
    #: None if the log does not have the email.
    state: str | None
    age_seconds: float | None
    attempts: int | None
    #: The masked address of the recipient.
    to: str | None
    #: False for an email that is in the log only.
    is_on_broker: bool


@dataclass(frozen=True, kw_only=True)
class PeekResult:
    """The next emails and messages of a queue, in order."""

    queue: str
    entries: tuple[QueueEntry, ...]
    broker_error: MailctlError | None
    #: Messages without an email in the log, on a broker that counts messages but does not show them.
    hidden: int = 0


class Queues:
    """Reads the queues of the delivery log and the broker.

    Args:
        runtime: the components of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._stats = QueueStats(runtime.engine)

    def list_queues(self) -> QueueList:
        """Return the status of all queues that the log, the workers, the settings or pauses name.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        record_results(self._runtime)
        depths, rates = self._stats.depths(), self._stats.rates()
        consumed = [*self._consumed_queues(), *self._queues_of_service_workers()]
        pauses = self._runtime.pauses.read()
        paused = {pause.name: pause for pause in pauses if pause.scope is PauseScope.QUEUE}
        names = dict.fromkeys([*self._default_queues, *sorted({*depths, *rates, *consumed, *paused})])
        on_broker, broker_error = self._inspect_broker(names)
        known = self._known_ids([message for queue in on_broker.values() for message in _all_messages(queue)])
        now = self._runtime.clock()
        kinds = tuple(pause for pause in pauses if pause.scope is not PauseScope.QUEUE)
        with_paused = self._queues_with_paused(kinds, now=now)
        queues = (
            QueueStatus(
                log_depth=depths.get(name) or QueueDepth(queue=name),
                rate=rates.get(name, QueueRate()),
                workers=consumed.count(name),
                pause=paused.get(name),
                on_broker=on_broker.get(name),
                unlogged_ready=_count_unlogged_ready(on_broker.get(name), known, depths.get(name)),
                unlogged_unacked=_count_unlogged(on_broker[name].unacked, known) if name in on_broker else 0,
                at=now,
                has_paused_emails=name in with_paused,
                is_broker_down=broker_error is not None,
            )
            for name in dict.fromkeys([*names, *on_broker])
            # The emails of groups count in their own queues.
            if name != GROUPS_QUEUE
        )
        learned = tuple(map(str, read_learned_limits(self._runtime.engine, now=now)))
        return QueueList(
            queues=tuple(queues), paused_kinds=kinds, broker_error=broker_error, learned_limits=learned
        )

    def _queues_with_paused(self, pauses: Sequence[Pause], *, now: datetime) -> frozenset[str]:
        """Return the queues in which emails of paused kinds or campaigns wait."""
        if not pauses:
            return frozenset()
        waiting = (each for each in count_unfinished(self._runtime.engine, now=now) if not each.is_scheduled)
        return frozenset(group.queue for group in waiting if any(pause.covers(group) for pause in pauses))

    def names(self) -> list[str]:
        """Return the names of the default queues, of those with unfinished emails, and of consumed ones.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        found = {*self._stats.depths(), *self._consumed_queues()}
        return list(dict.fromkeys([*self._default_queues, *sorted(found)]))

    def peek(self, queue: str | None = None, *, limit: int) -> PeekResult:
        """Return the next emails and messages of a queue, without removing them.

        Messages on Redis come first, in the order of its lists. Emails in groups follow, and then those that
        are in the log only.

        Args:
            queue: the name of the queue; None means the default queue.
            limit: the maximum number of entries.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        name = queue or default_queues(self._runtime)[0]
        on_broker, broker_error = self._inspect_broker([name])
        messages = (on_broker[name].messages or ()) if name in on_broker else ()
        in_log = self._stats.next_emails(name, limit=limit)
        if not messages:
            return PeekResult(
                queue=name,
                entries=_numbered_entries(in_log, start=1),
                broker_error=broker_error,
                hidden=_count_hidden(on_broker.get(name), self._stats.depths().get(name)),
            )
        shown = messages[:limit]
        ids = _ids(shown)
        known = self._stats.find_known(ids)
        published = tuple(
            _from_message(message, known, position=position) for position, message in enumerate(shown, 1)
        )
        # A worker may hold the message of an email that it has not begun.
        others = [email for email in in_log if email.id not in ids]
        entries = published + _numbered_entries(others[: limit - len(published)], start=len(published) + 1)
        return PeekResult(queue=name, entries=entries, broker_error=broker_error)

    @property
    def _default_queues(self) -> tuple[str, ...]:
        return (*default_queues(self._runtime), BULK_QUEUE)

    def _consumed_queues(self) -> list[str]:
        """Return the queues of each live worker; a queue appears once for each of its workers."""
        return [queue for worker in self._runtime.workers.list_alive() for queue in worker.email_queues]

    def _queues_of_service_workers(self) -> list[str]:
        """Return the queues of each worker of the service's app that does not share this log."""
        if not self._runtime.settings.mailctl_app:
            return []
        from mailctl.broker.inspector import BrokerInspector

        sharing_log = {worker.name for worker in self._runtime.workers.list_alive()}
        try:
            found = BrokerInspector(self._runtime.app).queues_by_worker()
        except BrokerUnavailable:
            return []
        return [queue for node, queues in found.items() if node not in sharing_log for queue in queues]

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
        return frozenset(self._stats.find_known(_ids(messages)))


def _ids(messages: Collection[CeleryMessage]) -> list[str]:
    found = (email_id for message in messages for email_id in (message.task_id, *message.email_ids))
    return [email_id for email_id in dict.fromkeys(found) if email_id]


def _all_messages(queue: BrokerQueue) -> tuple[CeleryMessage, ...]:
    return (queue.messages or ()) + (queue.unacked or ())


def _count_unlogged_ready(queue: BrokerQueue | None, known: frozenset[str], in_log: QueueDepth | None) -> int:
    """Count the messages that no worker has taken and that have no email in the log."""
    if queue is None:
        return 0
    if queue.messages is None:
        return _count_hidden(queue, in_log)
    return _count_unlogged(queue.messages, known)


def _count_hidden(queue: BrokerQueue | None, in_log: QueueDepth | None) -> int:
    """Count the messages of a queue that the broker does not show, beyond the published emails of the log.

    Workers may hold some of the published emails, so that there may be more such messages.
    """
    if queue is None or queue.messages is not None or queue.queue == GROUPS_QUEUE:
        return 0
    return max(0, queue.ready - (in_log.queued if in_log is not None else 0))


def _count_unlogged(messages: Collection[CeleryMessage] | None, known: frozenset[str]) -> int:
    """Count the messages without an email in the log."""
    return sum(known.isdisjoint((message.task_id, *message.email_ids)) for message in messages or ())


def _from_message(message: CeleryMessage, known: Mapping[str, Email], *, position: int) -> QueueEntry:
    email = known.get(message.task_id)
    if email is not None:
        return _from_email(email, position=position)
    return QueueEntry(
        position=position,
        task_id=message.task_id or None,
        kind=_kind_of(message),
        state=None,
        age_seconds=None,
        attempts=None,
        to=mask_address(message.to) if message.to else None,
        is_on_broker=True,
    )


def _kind_of(message: CeleryMessage) -> str | None:
    """Return what a message without an email of its own delivers; None if that is not known."""
    if message.queue == GROUPS_QUEUE:
        return f"group of {len(message.email_ids)}"
    if len(message.email_ids) > 1:
        return f"{len(message.email_ids)} of a campaign"
    return message.kind or message.task or None


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
