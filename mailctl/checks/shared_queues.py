"""Other apps on the queues that emails go to, and what was moved aside for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.broker.messages import unclaimed_queue
from mailctl.broker.shared_queues import find_foreign_messages, find_foreign_workers
from mailctl.broker.unclaimed import UnclaimedMessages, restore_command
from mailctl.checks.finding import CheckGroup, Finding
from mailctl.checks.workers import needed_queues
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Generator

    from celery import Celery

    from mailctl.checks.workers import DiscoveredWorkers
    from mailctl.domain.catalog import Catalog

_GROUP = CheckGroup(name="workers")
_FIX = "Give emails a queue of their own: CELERY_QUEUE_DEFAULT=mailctl, here and for the web service."


def check_shared_queues(
    app: Celery, roster: DiscoveredWorkers, *, catalog: Catalog
) -> Generator[Finding, None, None]:
    """Look for messages and workers of other apps; say nothing where there are none.

    Raises:
        BrokerUnavailable: the broker does not answer any more.
    """
    needed = needed_queues(app, catalog)
    queues = list(dict.fromkeys([*needed, *(name for each in roster.heartbeats for name in each.queues)]))
    found = [
        *find_foreign_messages(app, queues),
        *find_foreign_workers(app, queues, roster.unlogged_workers),
    ]
    for sharing in found:
        yield _GROUP.warn(
            "shared queue", f"{sharing}; workers put messages of other apps back, and delay both", fix=_FIX
        )
    for queue, number in UnclaimedMessages(app).counts(queues).items():
        yield _GROUP.warn(
            "unclaimed",
            f"{pluralize(number, 'message')} of other apps in {unclaimed_queue(queue)!r}: nobody took them",
            fix=f"Start the workers of that app, then: {restore_command(queue)}",
        )
