"""The checks of `monitor`: each compares a number with its limit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.checks.finding import FindingStatus
from mailctl.checks.processes import check_processes
from mailctl.delivery_log.circuits import read_circuits
from mailctl.delivery_log.queries.queue_stats import QueueDepth, QueueStats
from mailctl.delivery_log.queries.statistics import Statistics
from mailctl.delivery_log.storage.urls import delivery_log_url
from mailctl.delivery_log.write_probe import check_writable
from mailctl.errors import BrokerUnavailable, MailctlError
from mailctl.monitoring.mail_servers import used_servers
from mailctl.operations.known_names import check_queue_anywhere
from mailctl.process.deadlines import call_with_deadline
from mailctl.settings import BULK_QUEUE
from mailctl.timefmt import format_duration, pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.delivery_log.queries.stat_models import Activity, Totals
    from mailctl.runtime import Runtime


#: The time in which bounces and complaints are counted: they come hours later than the emails.
_FEEDBACK_WINDOW = timedelta(hours=24)
#: Of fewer accepted emails, one complaint would be too many.
_MIN_ACCEPTED = 100


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The limits that `monitor` checks."""

    #: The highest depth that one queue may have.
    max_depth: int
    #: How long an email may wait.
    max_age: timedelta
    #: The highest share of emails that may fail, from 0 to 1.
    max_failure_rate: float
    #: The number of workers that must be alive.
    min_workers: int
    #: The highest shares of accepted emails that may bounce, and that recipients may mark as spam.
    max_bounced: float
    max_complained: float
    #: The span over which failures are counted.
    failure_window: timedelta
    #: The queue to check; None checks all but the bulk queue, which is deep and slow on purpose.
    queue: str | None = None


@dataclass(frozen=True, kw_only=True)
class ThresholdCheck:
    """The result of checking one limit."""

    name: str
    #: A number, seconds or a share; None if there is nothing to measure.
    value: float | None
    limit: float
    ok: bool
    #: One sentence with the value and its limit.
    reason: str


def check_thresholds(runtime: Runtime, limits: Thresholds) -> list[ThresholdCheck]:
    """Check each limit against the delivery log.

    Raises:
        LogUnavailable: the delivery log cannot be read.
        NotFound: all limits hold, but the queue does not exist.
    """
    now, statistics = runtime.clock(), Statistics(runtime.engine)
    alive = runtime.workers.list_alive()
    depths = QueueStats(runtime.engine, clock=lambda: now).depths()
    queues = [queue for queue in depths.values() if _is_watched(queue, limits)]
    recent = statistics.activity(since=now - limits.failure_window, queue=limits.queue)
    checks = [
        _recording(runtime),
        check_depth(queues, limits),
        *_unlogged_messages(runtime, queues, limits),
        check_age(queues, limits, now=now),
        check_failures(recent, limits),
        *check_feedback(statistics.totals(since=now - _FEEDBACK_WINDOW), limits),
        _workers(alive, limits),
        *_processes(runtime, alive),
        _mail_server(runtime, alive),
    ]
    if limits.queue and all(check.ok for check in checks):
        check_queue_anywhere(runtime, limits.queue)
    return checks


def _is_watched(queue: QueueDepth, limits: Thresholds) -> bool:
    return queue.queue == limits.queue if limits.queue else queue.queue != BULK_QUEUE


def check_depth(queues: Sequence[QueueDepth], limits: Thresholds) -> ThresholdCheck:
    """Compare the depth of the deepest queue with its limit."""
    deepest = max(queues, key=lambda queue: queue.depth, default=QueueDepth(queue=limits.queue or ""))
    which = f"queue {deepest.queue!r}" if deepest.queue else "every queue"
    return ThresholdCheck(
        name="depth",
        value=deepest.depth,
        limit=limits.max_depth,
        ok=deepest.depth <= limits.max_depth,
        reason=f"{which} has a depth of {deepest.depth}; the limit is {limits.max_depth}",
    )


def _unlogged_messages(
    runtime: Runtime, queues: Sequence[QueueDepth], limits: Thresholds
) -> Iterator[ThresholdCheck]:
    """Compare the messages that a service publishes itself with the limit of the depth.

    Only with an app of the service: mailctl's own messages are emails of the delivery log.
    """
    if not runtime.settings.mailctl_app:
        return
    from mailctl.broker.inspector import BrokerInspector
    from mailctl.celery_app import consumed_queues

    in_log = {queue.queue: queue.queued for queue in queues}
    names = [limits.queue] if limits.queue else [*dict.fromkeys([*consumed_queues(runtime.app), *in_log])]
    try:
        ready = BrokerInspector(runtime.app).ready_counts(names)
    except BrokerUnavailable as error:
        yield _messages_check(None, limits, reason=f"the broker could not be queried: {error.message}")
        return
    unlogged = {name: max(0, count - in_log.get(name, 0)) for name, count in ready.items()}
    name, most = max(unlogged.items(), key=lambda each: each[1])
    reason = f"queue {name!r} has {pluralize(most, 'message')} without an email in the delivery log"
    yield _messages_check(most, limits, reason=f"{reason}; the limit is {limits.max_depth}")


def _messages_check(value: int | None, limits: Thresholds, *, reason: str) -> ThresholdCheck:
    is_ok = value is None or value <= limits.max_depth
    return ThresholdCheck(name="messages", value=value, limit=limits.max_depth, ok=is_ok, reason=reason)


def check_age(queues: Sequence[QueueDepth], limits: Thresholds, *, now: datetime) -> ThresholdCheck:
    """Compare the age of the oldest waiting email with its limit."""
    waiting = [(queue.waiting_since, queue.queue) for queue in queues if queue.waiting_since is not None]
    limit = limits.max_age.total_seconds()
    if not waiting:
        return ThresholdCheck(name="age", value=0.0, limit=limit, ok=True, reason="no email is waiting")
    oldest, name = min(waiting)
    age = max(0.0, (now - oldest).total_seconds())
    reason = (
        f"the oldest email in queue {name!r} has waited {format_duration(timedelta(seconds=age))}; "
        f"the limit is {format_duration(limits.max_age)}"
    )
    return ThresholdCheck(name="age", value=round(age, 3), limit=limit, ok=age <= limit, reason=reason)


def check_failures(recent: Activity, limits: Thresholds) -> ThresholdCheck:
    """Compare the failure rate of the recent activity with its limit."""
    rate, limit = recent.failure_rate, limits.max_failure_rate
    window = f"in the last {limits.failure_window.total_seconds() / 60:g} min"
    if rate is None:
        reason = f"no email was sent or failed {window}"
        return ThresholdCheck(name="failed", value=None, limit=limit, ok=True, reason=reason)
    return ThresholdCheck(
        name="failed",
        value=round(rate, 4),
        limit=limit,
        ok=rate <= limit,
        reason=f"{recent.failed} of {pluralize(recent.ended, 'send')} that ended {window} failed "
        f"({rate:.1%}); the limit is {limit:.1%}",
    )


def check_feedback(totals: Totals, limits: Thresholds) -> Iterator[ThresholdCheck]:
    """Compare the shares of emails that bounced and that recipients marked as spam with their limits."""
    for name, count, rate, limit in (
        ("bounced", totals.bounced, totals.bounced_rate, limits.max_bounced),
        ("complained", totals.complained, totals.complained_rate, limits.max_complained),
    ):
        if rate is None or totals.sent < _MIN_ACCEPTED:
            reason = f"fewer than {_MIN_ACCEPTED} emails were accepted in the last 24 h"
            yield ThresholdCheck(name=name, value=None, limit=limit, ok=True, reason=reason)
            continue
        yield ThresholdCheck(
            name=name,
            value=round(rate, 5),
            limit=limit,
            ok=rate <= limit,
            reason=f"{count} of {pluralize(totals.sent, 'email')} accepted in the last 24 h {name} "
            f"({rate:.2%}); the limit is {limit:.2%}",
        )


def _workers(workers: Sequence[Worker], limits: Thresholds) -> ThresholdCheck:
    alive = [worker for worker in workers if limits.queue is None or limits.queue in worker.queues]
    where = f" on queue {limits.queue!r}" if limits.queue else ""
    return ThresholdCheck(
        name="workers",
        value=len(alive),
        limit=limits.min_workers,
        ok=len(alive) >= limits.min_workers,
        reason=f"{pluralize(len(alive), 'worker')} alive{where}; the minimum is {limits.min_workers}",
    )


def _mail_server(runtime: Runtime, alive: Sequence[Worker]) -> ThresholdCheck:
    """Check the circuits to the mail servers of all live workers."""
    used = used_servers(runtime, alive)
    found = [str(each) for each in read_circuits(runtime.engine) if each.is_open and each.server in used]
    reason = "; ".join(found) or "sending is not suspended"
    return _condition("mail-server", is_ok=not found, reason=reason)


def _recording(runtime: Runtime) -> ThresholdCheck:
    """Check that the delivery log accepts an email."""
    url = delivery_log_url(runtime.settings)
    try:
        call_with_deadline(lambda: check_writable(url), service="The delivery log")
    except MailctlError as error:
        return _condition("recording", is_ok=False, reason=error.message.rstrip("."))
    return _condition("recording", is_ok=True, reason="the delivery log accepts emails")


def _processes(runtime: Runtime, alive: Sequence[Worker]) -> Iterator[ThresholdCheck]:
    """Check that the workers agree with this process, publish, and take emails."""
    findings = check_processes(runtime.engine, alive, runtime.identity, keyring=runtime.keyring)
    failures = [each for each in findings if each.status is FindingStatus.FAIL]
    for failure in failures:
        yield _condition(failure.name, is_ok=False, reason=failure.detail.rstrip("."))
    if alive and not failures:
        yield _condition(
            "agreement", is_ok=True, reason="the workers have the same keys as this process, and take emails"
        )


def _condition(name: str, *, is_ok: bool, reason: str) -> ThresholdCheck:
    """Return the result of a check that has no number."""
    return ThresholdCheck(name=name, value=float(not is_ok), limit=0, ok=is_ok, reason=reason)
