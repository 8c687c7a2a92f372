"""Which emails travel in groups, and in which order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.delivery_log.due import BATCH_SIZE, GROUP_SIZE
from mailctl.delivery_log.storage.partial_indices import IS_WAITING_SECURITY_EMAIL
from mailctl.domain.catalog import SECURITY_KINDS
from mailctl.enqueue.grouping import (
    MAX_SINGLE_EMAILS,
    MIN_BATCH_SIZE,
    batch_size,
    grouped_queues,
    groups_of,
    in_order,
    single_emails_allowed,
)
from mailctl.settings import BULK_QUEUE, GROUPS_QUEUE


def queues(*workers: tuple[str, ...]) -> frozenset[str]:
    """Return the grouped queues with workers that consume these queues."""
    found: Any = [SimpleNamespace(queues=names) for names in workers]
    return grouped_queues(found)


def test_emails_are_grouped_if_every_worker_that_may_get_the_group_consumes_their_queue() -> None:
    """A worker that consumes one queue only must not send the emails of another."""
    everything = ("celery", "billing", GROUPS_QUEUE, BULK_QUEUE)
    assert queues(everything) == {"celery", "billing"}
    assert queues(everything, ("celery", GROUPS_QUEUE)) == {"celery"}
    assert queues(everything, ("billing",)) == {"celery", "billing"}
    assert queues(("celery", BULK_QUEUE)) == queues() == frozenset()


@pytest.mark.parametrize(
    ("waiting", "groups", "allowed"),
    [(0, 0, MAX_SINGLE_EMAILS), (3, 0, MAX_SINGLE_EMAILS - 3), (99, 0, 0), (0, 1, 0)],
)
def test_a_few_emails_are_published_one_by_one(waiting: int, groups: int, allowed: int) -> None:
    """None while groups wait, which workers would never reach otherwise."""
    assert single_emails_allowed(waiting=waiting, groups=groups) == allowed


@pytest.mark.parametrize(
    ("pace", "slots", "expected"),
    [(0, 2, BATCH_SIZE), (2000, 2, BATCH_SIZE), (100, 2, 40), (3, 2, MIN_BATCH_SIZE), (100, 0, 80)],
)
def test_a_batch_of_a_campaign_is_what_a_process_sends_in_less_than_a_second(
    pace: float, slots: int, expected: int
) -> None:
    """As far as the pace is known."""
    assert batch_size(pace=pace, slots=slots) == expected


def test_security_emails_go_first_and_others_as_they_came() -> None:
    """The index that finds them has the same kinds."""
    kinds = ["welcome", "reset", "email", "new-ip"]
    emails: Any = [SimpleNamespace(kind=kind) for kind in kinds]
    assert [email.kind for email in in_order(emails)] == ["reset", "new-ip", "welcome", "email"]
    assert all(f"'{kind}'" in IS_WAITING_SECURITY_EMAIL for kind in SECURITY_KINDS)
    assert IS_WAITING_SECURITY_EMAIL.count("'") == 2 * len(SECURITY_KINDS) + 4


def test_a_group_has_a_largest_size() -> None:
    """None is empty."""
    ids = [str(number) for number in range(GROUP_SIZE + 1)]
    assert list(map(len, groups_of(ids))) == [GROUP_SIZE, 1]
    assert groups_of([]) == []
