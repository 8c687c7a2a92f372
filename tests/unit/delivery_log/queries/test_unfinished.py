"""Unfinished emails: which worker may be sending them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from mailctl.delivery_log.queries.unfinished import UnfinishedEmails
from mailctl.domain.states import State
from tests.emails import NOW
from tests.workers import worker

SENDING = UnfinishedEmails(
    state=State.SENDING,
    queue="celery",
    kind="welcome",
    campaign=None,
    reason_code=None,
    worker="celery@web",
    is_later=False,
    count=1,
    changed_at=NOW,
    lease_until=NOW,
    not_before=None,
)


def test_a_worker_may_hold_what_was_claimed_since_it_was_started() -> None:
    """A worker of the same name that was started later is another one; so is one of another name."""
    first = worker(NOW - timedelta(hours=1), name="celery@web")
    assert SENDING.may_be_held_by(first)
    assert not SENDING.may_be_held_by(replace(first, started_at=NOW + timedelta(minutes=1)))
    assert not SENDING.may_be_held_by(replace(first, name="celery@other"))
    assert not SENDING.may_be_held_by(None)


def test_the_emails_of_its_successor_are_not_those_of_a_dead_worker() -> None:
    """They were claimed after the last sign of life of the first one, by one that is alive."""
    dead = worker(NOW - timedelta(hours=1), name="celery@web", seen_at=NOW - timedelta(minutes=30))
    successor = replace(dead, id="w2", started_at=NOW - timedelta(minutes=1), seen_at=NOW)
    earlier = replace(SENDING, changed_at=NOW - timedelta(minutes=31))
    assert [group.may_be_held_by(successor) for group in (earlier, SENDING)] == [False, True]
