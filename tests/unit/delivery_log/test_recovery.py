"""Recovery: what a relay finds stuck, and what becomes of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.models import State
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.retry_policy import MAX_ATTEMPTS

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


@pytest.mark.parametrize(
    ("hold", "attempts", "state"),
    [
        (False, 1, State.PENDING),
        (True, 1, State.HELD),
        (False, MAX_ATTEMPTS, State.FAILED),
        (True, MAX_ATTEMPTS, State.HELD),
    ],
)
def test_an_email_whose_worker_disappeared_is_in_doubt(
    log: Log, hold: bool, attempts: int, state: State
) -> None:
    """It is sent again, held, or given up; each time it may have been sent."""
    email_id = log.queue()
    log.claim(email_id)
    log.change(email_id, attempts=attempts)
    log.forward(61)
    assert log.recovery.release_stale(hold=hold) == 1
    assert log.email(email_id).state is state
    assert log.last_event(email_id).reason_code is ReasonCode.WORKER_DISAPPEARED
    assert log.maybe_sent(email_id)


def test_a_lease_that_holds_is_respected(log: Log) -> None:
    """The worker is still sending."""
    log.claim(log.queue())
    assert log.recovery.release_stale(hold=False) == 0


def test_the_oldest_messages_of_a_queue_are_the_lost_ones(log: Log) -> None:
    """A queue is first in, first out."""
    old = log.queue()
    log.forward(1)
    new = log.queue()
    log.forward(60)
    lost = {"queue": "celery", "queued_before": log.now}
    assert log.recovery.return_lost(**lost, on_broker=2) == 0
    assert log.recovery.return_lost(**lost, on_broker=1) == 1
    assert (log.email(old).state, log.email(new).state) == (State.PENDING, State.QUEUED)
    assert log.last_event(old).reason_code is ReasonCode.BROKER_LOST


def test_messages_in_the_memory_of_a_dead_worker_are_lost(log: Log) -> None:
    """Those in the memory of a living one are not."""
    dead, alive = log.add(), log.add()
    log.publications.mark_queued([dead], worker_id="gone")
    log.publications.mark_queued([alive], worker_id="here")
    assert log.recovery.return_orphans(alive=["here"]) == 1
    assert log.last_event(dead).reason_code is ReasonCode.WORKER_LOST


@pytest.mark.parametrize("hold", [False, True])
def test_an_email_of_the_services_own_task_is_never_sent_again_by_itself(log: Log, hold: bool) -> None:
    """Whatever MAILCTL_ON_AMBIGUOUS says, and whatever was lost: it is held, and the reason says why."""
    leased, orphan, lost = log.add(), log.add(), log.add()
    log.publications.mark_queued([leased, lost], is_own_task=True)
    log.publications.mark_queued([orphan], worker_id="gone", is_own_task=True)
    log.claim(leased)
    log.forward(61)
    assert log.recovery.release_stale(hold=hold) == 0
    assert log.recovery.return_orphans(alive=[]) == 0
    assert log.recovery.return_lost(queue="celery", queued_before=log.now, on_broker=0) == 0
    for email_id in (leased, orphan):
        assert log.email(email_id).state is State.HELD
        assert log.email(email_id).reason_code is ReasonCode.OWN_TASK_UNKNOWN
        assert log.maybe_sent(email_id)
    assert log.email(lost).state is State.QUEUED


def test_an_email_expires_shortly_before_its_links(log: Log) -> None:
    """Its reader still has to click."""
    email_id = log.add()
    log.change(email_id, expires_at=log.now + timedelta(seconds=59))
    assert log.recovery.expire() == 1
    assert (log.email(email_id).state, log.email(email_id).reason_code) == (
        State.EXPIRED,
        ReasonCode.EXPIRED,
    )


def test_times_of_a_clock_that_was_ahead_are_corrected(log: Log) -> None:
    """A scheduled time was meant, and stays."""
    far = log.now + timedelta(days=30)
    scheduled, delayed = log.add(not_before=far), log.add()
    log.change(delayed, due_at=far, not_before=far, reason_code=ReasonCode.MAIL_SERVER_DOWN)
    assert log.recovery.correct_future_times(longest=timedelta(hours=1)) == 1
    assert (log.email(scheduled).due_at, log.email(delayed).due_at) == (far, log.now)
