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
from mailctl.checks.finding import CheckGroup, Finding, as_sentence
from mailctl.checks.workers import needed_queues
from mailctl.settings import GROUPS_QUEUE
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from celery import Celery

    from mailctl.checks.workers import DiscoveredWorkers
    from mailctl.domain.catalog import Catalog

_GROUP = CheckGroup(name="workers")
_FIX = "Give emails their own queue: set CELERY_QUEUE_DEFAULT=mailctl here and for the web service."


def check_shared_queues(
    app: Celery, workers: DiscoveredWorkers, *, catalog: Catalog
) -> Generator[Finding, None, None]:
    """Check for messages and workers of other apps; without any, there is no finding.

    Raises:
        BrokerUnavailable: the broker does not answer.
    """
    needed = needed_queues(app, catalog)
    queues = list(dict.fromkeys([*needed, *(name for each in workers.heartbeats for name in each.queues)]))
    found = [
        *find_foreign_messages(app, queues),
        *find_foreign_workers(app, queues, workers.unlogged_workers),
    ]
    for sharing in found:
        yield _GROUP.warn(
            "shared queue",
            as_sentence(f"{sharing}; workers put messages of other apps back, which delays both apps"),
            fix=_FIX,
        )
    yield from _discarding(app, workers, catalog)
    for queue, number in UnclaimedMessages(app).counts(queues).items():
        yield _GROUP.warn(
            "unclaimed",
            f"No worker claimed {pluralize(number, 'message')} of other apps in {unclaimed_queue(queue)!r}.",
            fix=f"Start the workers of that app, then run: {restore_command(queue)}",
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
            fix=f"Import mailctl.tasks in the app of that worker, or: {_FIX[0].lower()}{_FIX[1:]}",
        )
