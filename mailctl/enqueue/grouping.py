"""Which single emails travel in groups: decisions about queues and backlogs.

A few emails are published one by one. If more wait, they stay in the delivery log, from where relays release
them as groups: a worker process sends a group concurrently, and single emails one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.delivery_log.due import BATCH_SIZE, GROUP_SIZE
from mailctl.domain.catalog import SECURITY_KINDS
from mailctl.settings import BULK_QUEUE, GROUPS_QUEUE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.domain.models import Draft, Email

#: Groups that wait on the broker at most.
MAX_GROUPS_ON_BROKER = 10
#: Emails in one message, however slow the mail server is, and the seconds that those of a message take.
MIN_BATCH_SIZE = 5
_BATCH_SECONDS = 0.8
#: Emails of one queue that wait on the broker one by one, beyond which others travel in groups.
MAX_SINGLE_EMAILS = 10


def grouped_queues(workers: Iterable[Worker]) -> frozenset[str]:
    """Return the queues whose emails may travel in groups.

    All groups have one queue, so each worker that consumes it must also consume the emails' own queue.

    Args:
        workers: the live workers that share the delivery log.
    """
    consumed = [frozenset(worker.queues) for worker in workers if GROUPS_QUEUE in worker.queues]
    return frozenset.intersection(*consumed) - {GROUPS_QUEUE, BULK_QUEUE} if consumed else frozenset()


def single_emails_allowed(*, waiting: int, groups: int) -> int:
    """Return how many more emails may be published one by one.

    None while groups wait: workers take single emails first, and would never reach the groups.

    Args:
        waiting: messages that wait in the queue of the emails.
        groups: groups that wait.
    """
    return 0 if groups else max(0, MAX_SINGLE_EMAILS - waiting)


def batch_size(*, pace: float, slots: int, most: int = BATCH_SIZE) -> int:
    """Return how many emails one message gets: what a process sends in less than a second.

    What it does not reach in that time would go back to the log, and be published again.

    Args:
        pace: emails a second that all workers finish; 0 if that is not known.
        slots: how many tasks they execute at the same time.
        most: how many it gets at most, and if the pace is not known.
    """
    if not pace:
        return most
    return max(MIN_BATCH_SIZE, min(most, int(pace / max(1, slots) * _BATCH_SECONDS)))


def in_order(emails: Iterable[Email | Draft]) -> list[Email | Draft]:
    """Return emails in the order in which they are sent: security emails first, each as they came."""
    return sorted(emails, key=lambda email: email.kind not in SECURITY_KINDS)


def groups_of(ids: Sequence[str]) -> list[Sequence[str]]:
    """Return the ids of emails, divided into groups."""
    return [ids[start : start + GROUP_SIZE] for start in range(0, len(ids), GROUP_SIZE)]
