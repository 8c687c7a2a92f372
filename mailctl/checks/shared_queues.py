"""Checks for other apps on the queues of emails, for workers that discard emails, and unclaimed messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.broker.inspector import BrokerInspector
from mailctl.broker.messages import BATCH_TASK, quoted_name, unclaimed_queue
from mailctl.broker.shared_queues import (
    find_discarding_workers,
    find_foreign_messages,
    find_foreign_workers,
)
from mailctl.broker.unclaimed import UnclaimedMessages, restore_command
from mailctl.celery_app import is_built_in_app
from mailctl.checks.finding import CheckGroup, Finding, as_sentence
from mailctl.checks.other_delivery_logs import compare_other_workers, find_other_workers
from mailctl.checks.workers import needed_queues
from mailctl.delivery_log.queries.queue_stats import QueueStats
from mailctl.security.keyring import Keyring
from mailctl.settings import GROUPS_QUEUE
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Sequence

    from celery import Celery
    from sqlalchemy import Engine

    from mailctl.broker.shared_queues import MailctlWorker
    from mailctl.checks.workers import DiscoveredWorkers
    from mailctl.domain.catalog import Catalog
    from mailctl.settings import Settings

_GROUP = CheckGroup(name="workers")


def check_shared_queues(
    app: Celery, log: Engine | None, workers: DiscoveredWorkers, *, catalog: Catalog, settings: Settings
) -> Generator[Finding, None, frozenset[str]]:
    """Yield findings about messages and workers of other apps, and about workers with another log.

    Returns:
        The names of the workers that have another log.

    Raises:
        BrokerUnavailable: the broker does not answer.
    """
    needed = needed_queues(app, catalog)
    queues = list(dict.fromkeys([*needed, *(name for each in workers.heartbeats for name in each.queues)]))
    found = [
        *find_foreign_messages(app, queues),
        *find_foreign_workers(app, queues, workers.unlogged_workers),
    ]
    fix = f"Give emails their own queue: {_own_queue_step(app)}"
    for sharing in found:
        yield _GROUP.warn(
            "shared queue",
            as_sentence(f"{sharing}; workers put messages of other apps back, which delays both apps"),
            fix=fix,
        )
    broker = BrokerInspector(app)
    if log is not None:
        yield from _hidden_messages(broker, log, queues, fix=fix)
    yield from _discarding(app, workers, catalog)
    others = find_other_workers(app, broker, queues, workers.unlogged_workers)
    own_queues = {queue for each in workers.heartbeats for queue in each.queues}
    yield from other_worker_findings(others, settings, own_queues=own_queues)
    for queue, number in UnclaimedMessages(app).counts(queues).items():
        yield _GROUP.warn(
            "unclaimed",
            f"No worker claimed {pluralize(number, 'message')} of other apps in {unclaimed_queue(queue)!r}.",
            fix=f"Start the workers of that app, then run: {restore_command(queue)}",
        )
    return frozenset(worker.name for worker in others)


def other_worker_findings(
    others: Sequence[MailctlWorker], settings: Settings, *, own_queues: Collection[str]
) -> Iterator[Finding]:
    """Yield a finding for each worker that takes emails of this log and has another log, or another key."""
    keys = Keyring(settings.secret_keys).fingerprints()
    for each in compare_other_workers(others, settings, keys=keys, own_queues=own_queues):
        make = _GROUP.fail if each.is_failure else _GROUP.warn
        yield make(each.subject, as_sentence(each.detail), fix=each.fix)


def _own_queue_step(app: Celery) -> str:
    """Return the step that gives emails their own queue: the service's own app has its own routes."""
    if is_built_in_app(app):
        return "set CELERY_QUEUE_DEFAULT=mailctl here and for the web service."
    return "route their tasks to it, with task_routes in the app of the service."


def _hidden_messages(
    broker: BrokerInspector, log: Engine, queues: Collection[str], *, fix: str
) -> Iterator[Finding]:
    """Compare the number of messages with the log, if the broker counts messages without showing them.

    On such a broker, only a worker that takes a message of another app can identify it.
    """
    shown = {} if broker.is_in_memory else broker.inspect_queues(queues)
    counted = {name: queue.ready for name, queue in shown.items() if queue.messages is None and queue.ready}
    depths = QueueStats(log).depths() if counted else {}
    for name, ready in counted.items():
        published = depths[name].queued if name in depths else 0
        waiting = f"queue {name!r} has {pluralize(ready, 'message')} on the broker that no worker has taken"
        text = f"{waiting}, and this log {pluralize(published, 'published email')}"
        if ready <= published:
            yield _GROUP.ok("messages", text)
            continue
        yield _GROUP.warn(
            "messages",
            as_sentence(f"{text}: the others are not mailctl's, or belong to another log"),
            fix="This broker does not show its messages; the worker's log says what it takes. " + fix,
        )


def _discarding(app: Celery, workers: DiscoveredWorkers, catalog: Catalog) -> Iterator[Finding]:
    """Yield a failure for each worker that receives emails and has no task for them."""
    tasks = {
        queue: {catalog.kinds[name].full_task for name in kinds}
        for queue, kinds in needed_queues(app, catalog).items()
    }
    tasks[GROUPS_QUEUE] = {BATCH_TASK}
    found = find_discarding_workers(BrokerInspector(app), tasks, workers.unlogged_workers)
    for node, missing in found.items():
        yield _GROUP.fail(
            "unregistered task",
            f"{quoted_name(node)} consumes a queue of emails and discards them, because it does not have"
            f" {pluralize(len(missing), 'task')}: {', '.join(missing)}.",
            fix="Import mailctl.tasks in the app of that worker, and restart it, or give emails their own"
            f" queue: {_own_queue_step(app)}",
        )
