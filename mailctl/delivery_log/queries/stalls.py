"""Stalls: workers that are alive and take no email although some wait, and emails that no relay publishes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, or_, select

from mailctl.delivery_log.circuits import read_circuits_in_use
from mailctl.delivery_log.due import EMAILS_OF_MESSAGE, is_claimable_single, may_start, message_queue
from mailctl.delivery_log.heartbeats import WorkerRegistry, is_suspended
from mailctl.delivery_log.pauses import is_not_paused
from mailctl.delivery_log.queries.queue_stats import newest_events
from mailctl.delivery_log.session_shares import SessionShares
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.routing import DEFAULT_SERVER
from mailctl.domain.states import State
from mailctl.timefmt import format_duration, pluralize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from mailctl.delivery_log.heartbeats import Worker

#: Seconds for which a worker may take no email although some wait on the broker.
STALL_SECONDS = 15.0
#: Seconds in which a worker that does nothing else takes a message.
_DELIVERY_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class StalledWorker:
    """A live worker that takes no email from a queue in which some wait."""

    #: The node name of the worker.
    worker: str
    queue: str
    #: How many emails wait on the broker.
    waiting: int
    #: How long the first of them has waited.
    waited: timedelta

    def __str__(self) -> str:
        emails_wait = f"{pluralize(self.waiting, 'email')} {'waits' if self.waiting == 1 else 'wait'}"
        return (
            f"worker {self.worker} is alive and consumes queue {self.queue!r}, but takes nothing:"
            f" {emails_wait} there, the first for {format_duration(self.waited)}"
        )


@dataclass(frozen=True, kw_only=True)
class UnpublishedEmails:
    """The emails that are due and that no relay has published for a while."""

    count: int
    #: How long the first of them has waited.
    waited: timedelta
    #: Why a relay could not publish it; "" if none has said so.
    reason: str

    def __str__(self) -> str:
        are = "email is" if self.count == 1 else "emails are"
        reason = f": {self.reason.rstrip('.')}" if self.reason else ""
        waited = format_duration(self.waited)
        return f"{self.count} {are} due, and no relay has published anything for {waited}{reason}"


@dataclass(frozen=True, kw_only=True)
class _Backlog:
    count: int
    since: datetime


def find_stalled_workers(engine: Engine, workers: Sequence[Worker], *, now: datetime) -> list[StalledWorker]:
    """Return the workers that are alive and have taken no email for a while, although some wait for them.

    A worker that is sending an email, whose mail server's circuit is open, whose emails are paused, or whose
    messages a suspended or dead worker may hold, takes none for a good reason.

    Args:
        engine: of the delivery log.
        workers: the live workers.
        now: the current time, aware.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    since = now - timedelta(seconds=STALL_SECONDS)
    with reading(engine) as connection:
        known_since = min((worker.started_at for worker in workers), default=now)
        backlogs = _backlogs(connection, waiting_since=since, known_since=known_since, now=now)
        active = _active_workers(connection, since=since) if backlogs else set()
    if not backlogs:
        return []
    held = _held_by_idle_workers(engine, workers)
    closed = {circuit.server for circuit in read_circuits_in_use(engine, workers) if circuit.is_open}
    idle = [
        worker
        for worker in workers
        if not is_suspended(worker)
        and worker.name not in active
        and worker.started_at < since
        and not _waits_for_server(worker, closed)
    ]
    return [
        StalledWorker(
            worker=worker.name,
            queue=queue,
            waiting=backlogs[queue].count,
            waited=now - backlogs[queue].since,
        )
        for worker in idle
        for queue in worker.queues
        if queue in backlogs and backlogs[queue].count > held.get(queue, 0)
    ]


def find_unpublished(engine: Engine, workers: Sequence[Worker], *, now: datetime) -> UnpublishedEmails | None:
    """Return the emails that no relay publishes although they are due; None if relays publish.

    Campaigns, whose emails are released gradually, and paused emails are left out. While the circuit of a
    mail server is open, or all sessions that it allows are in use, it is normal that emails wait.

    Args:
        engine: of the delivery log.
        workers: the live workers.
        now: the current time, aware.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    since = now - timedelta(seconds=STALL_SECONDS)
    waits = and_(
        emails.c.state == State.PENDING,
        is_claimable_single(),
        emails.c.updated_at < since,
        may_start(since),
        is_not_paused(),
    )
    first = select(emails.c.updated_at, emails.c.not_before, emails.c.error).where(waits)
    with reading(engine) as connection:
        count = connection.execute(select(func.count()).select_from(emails).where(waits)).scalar_one()
        row: Any = connection.execute(first.order_by(emails.c.updated_at).limit(1)).first()
        recent = newest_events(since=since)
        publishes = connection.execute(select(recent.c.at).where(recent.c.state == State.QUEUED)).first()
    if row is None or publishes or any(each.is_open for each in read_circuits_in_use(engine, workers)):
        return None
    if SessionShares(engine, DEFAULT_SERVER, clock=lambda: now).are_all_in_use():
        return None
    waited = now - max(row.updated_at, row.not_before or row.updated_at)
    return UnpublishedEmails(count=count, waited=waited, reason=row.error or "")


def _held_by_idle_workers(engine: Engine, workers: Sequence[Worker]) -> Counter[str]:
    """Return how many emails of each queue may be with workers that are suspended or dead.

    Other workers cannot take these. A worker has a message for each of its processes, and as many in reserve.
    """
    held: Counter[str] = Counter()
    idle = [*filter(is_suspended, workers), *WorkerRegistry(engine).list_silent()]
    for worker in idle:
        messages = 2 * worker.concurrency + 1
        held.update({queue: messages * EMAILS_OF_MESSAGE.get(queue, 1) for queue in worker.queues})
    return held


def _waits_for_server(worker: Worker, closed: set[str]) -> bool:
    """Whether the circuits of all its mail servers are open; of unknown servers, whether any is."""
    return bool(closed) if worker.identity is None else closed.issuperset(worker.identity.servers)


def _backlogs(
    connection: Connection, *, waiting_since: datetime, known_since: datetime, now: datetime
) -> Mapping[str, _Backlog]:
    """Return for each queue the emails on the broker that have waited for a while.

    Relays publish an email again that no worker takes, so the time at which it was published says little.
    A worker without this log may have taken what was published in full before `known_since`.
    """
    is_known = or_(emails.c.is_in_full.is_(False), emails.c.queued_at > known_since)
    waits = and_(
        emails.c.state == State.QUEUED,
        emails.c.queued_at < now - timedelta(seconds=_DELIVERY_SECONDS),
        emails.c.created_at < waiting_since,
        emails.c.is_own_task.is_(False),
        is_known,
        may_start(waiting_since),
        is_not_paused(),
    )
    query = (
        select(
            # Not "queue": a column of the table has that name, by which the database would group.
            message_queue().label("message_queue"),
            func.count().label("count"),
            func.min(emails.c.created_at).label("since"),
        )
        .where(waits)
        .group_by("message_queue")
    )
    rows: Any = connection.execute(query)
    return {row.message_queue: _Backlog(count=row.count, since=row.since) for row in rows}


def _active_workers(connection: Connection, *, since: datetime) -> set[str]:
    """Return the node names of the workers that are sending an email, or have taken one recently."""
    sending = select(emails.c.worker).where(emails.c.state == State.SENDING)
    recent = newest_events(since=since)
    taken = select(recent.c.worker).where(recent.c.state == State.SENDING)
    return {name for query in (sending, taken) for name in connection.execute(query.distinct()).scalars()}
