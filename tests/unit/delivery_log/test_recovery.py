"""Recovery: what a relay finds stuck, and what becomes of it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.claim_tokens import begin_worker
from mailctl.delivery_log.operator_actions import AuditInfo
from mailctl.delivery_log.storage.sqlite import sqlite_path
from mailctl.domain.eligibility import RELEASE
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.settings import GROUPS_QUEUE
from tests.unit.delivery_log.conftest import NO_REPLY

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tests.unit.delivery_log.conftest import Log


@pytest.mark.parametrize(("max_resends", "state"), [(2, State.PENDING), (1, State.PENDING), (0, State.HELD)])
def test_an_email_whose_worker_disappeared_is_in_doubt(log: Log, max_resends: int, state: State) -> None:
    """It is sent again or held; each time it may have been sent."""
    email_id = log.queue()
    log.claim(email_id)
    log.forward(61)
    assert log.recovery.release_stale(max_resends=max_resends) == 1
    assert log.email(email_id).state is state
    assert log.last_event(email_id).reason_code is ReasonCode.WORKER_DISAPPEARED
    assert log.maybe_sent(email_id)


@pytest.mark.parametrize(("max_resends", "state"), [(1, State.PENDING), (0, State.HELD)])
def test_an_email_whose_process_died_is_released_before_its_lease_ends(
    log: Log, max_resends: int, state: State
) -> None:
    """Whichever process that was; not what one that lives, or another worker, has claimed."""

    def release(*alive: int) -> int:
        return log.recovery.release_of_dead_processes(list_alive=lambda: alive, max_resends=max_resends)

    email_id = log.queue()
    assert release() == 0
    log.claim(email_id)
    assert release(os.getpid(), os.getpid() + 1) == 0
    assert release(os.getpid() + 1) == 1
    assert (log.email(email_id).state, log.maybe_sent(email_id)) == (state, True)
    event = log.last_event(email_id)
    assert (event.reason_code, "a process of its worker died" in event.text) == (
        ReasonCode.PROCESS_DIED,
        True,
    )
    other_id = log.queue()
    log.claim(other_id)
    begin_worker()
    assert release() == 0


def test_while_nothing_is_stuck_no_other_transaction_is_waited_for(log: Log, engine: Engine) -> None:
    """A relay looks each second; with the lock of a writer, it would keep others from writing each time."""
    log.claim(log.queue())
    log.queue()
    with closing(sqlite3.connect(sqlite_path(engine.url), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert log.recovery.release_stale(max_resends=1) == 0
        assert log.recovery.return_orphans(alive=[]) == 0
        assert log.recovery.expire() == 0


def test_a_process_that_claims_while_the_log_is_read_is_alive(log: Log) -> None:
    """Which processes live is asked after that, so that none is missing that has claimed something."""
    alive: list[int] = []
    email_id = log.queue()

    def list_alive() -> list[int]:
        log.claim(email_id)
        return alive

    first = log.queue()
    log.claim(first)
    alive.append(os.getpid())
    assert log.recovery.release_of_dead_processes(list_alive=list_alive, max_resends=1) == 0


def test_every_doubt_counts_until_an_operator_acts(log: Log) -> None:
    """A lost reply, and a worker that disappeared: each resend may be another copy."""
    email_id, other_id = log.queue(), log.queue()
    claim = log.claim(email_id)
    log.defer(claim, NO_REPLY, seconds=0)
    states = []
    for _ in range(2):
        log.claim(email_id)
        log.forward(61)
        log.recovery.release_stale(max_resends=2)
        states.append(log.email(email_id).state)
    assert states == [State.PENDING, State.HELD]
    log.claim(other_id)
    log.forward(61)
    log.recovery.release_stale(max_resends=2)
    assert log.email(other_id).state is State.PENDING
    audit = AuditInfo(actor="ada", reason="")
    log.actions.release([email_id], from_states=RELEASE.allowed_states, audit=audit, again=False)
    log.claim(email_id)
    log.forward(61)
    log.recovery.release_stale(max_resends=2)
    assert log.email(email_id).state is State.PENDING


def test_a_lease_that_holds_is_respected(log: Log) -> None:
    """The worker is still sending."""
    log.claim(log.queue())
    assert log.recovery.release_stale(max_resends=2) == 0


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


@pytest.mark.parametrize("max_resends", [2, 0])
def test_an_email_of_the_services_own_task_is_never_sent_again_by_itself(log: Log, max_resends: int) -> None:
    """Whatever MAILCTL_ON_AMBIGUOUS says, and whatever was lost: it is held, and the reason says why."""
    leased, orphan, lost = log.add(), log.add(), log.add()
    log.publications.mark_queued([leased, lost], is_own_task=True)
    log.publications.mark_queued([orphan], worker_id="gone", is_own_task=True)
    log.claim(leased)
    log.forward(61)
    assert log.recovery.release_stale(max_resends=max_resends) == 0
    assert log.recovery.return_orphans(alive=[]) == 0
    assert log.recovery.return_lost(queue="celery", queued_before=log.now, on_broker=0) == 0
    for email_id in (leased, orphan):
        assert log.email(email_id).state is State.HELD
        assert log.email(email_id).reason_code is ReasonCode.OWN_TASK_UNKNOWN
        assert log.maybe_sent(email_id)
    assert log.email(lost).state is State.QUEUED


def test_an_email_that_was_published_in_full_is_returned_only_with_proof(log: Log) -> None:
    """A worker without the log may have sent it; once one of this log has claimed it, it is as any other."""
    claimed, lost = log.add(), log.add()
    assert log.publications.mark_in_full([claimed, lost]) == {claimed, lost}
    log.claim(claimed)
    log.forward(61)
    assert log.recovery.return_lost(queue="celery", queued_before=log.now, on_broker=0) == 0
    assert log.recovery.release_stale(max_resends=2) == 1
    assert (log.email(claimed).state, log.email(lost).state) == (State.PENDING, State.QUEUED)
    assert log.recovery.return_lost_full_messages([claimed, lost]) == 1
    assert log.email(lost).reason_code is None


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


def test_the_messages_of_groups_are_in_a_queue_of_their_own(log: Log) -> None:
    """Those of the emails' own queue say nothing about them."""
    single, grouped = log.queue(), log.add()
    log.publications.mark_queued([grouped], is_grouped=True)
    log.forward(60)
    queues = log.lookups.queues_with_unclaimed(queued_before=log.now)
    assert sorted(queues) == ["celery", GROUPS_QUEUE]
    assert log.recovery.return_lost(queue="celery", queued_before=log.now, on_broker=1) == 0
    assert log.recovery.return_lost(queue=GROUPS_QUEUE, queued_before=log.now, on_broker=0) == 1
    assert (log.email(single).state, log.email(grouped).state) == (State.QUEUED, State.PENDING)


def test_groups_that_no_worker_takes_go_back_to_the_log(log: Log) -> None:
    """Emails whose messages are single stay on the broker."""
    single, grouped = log.queue(), log.add()
    log.publications.mark_queued([grouped], is_grouped=True)
    assert log.recovery.return_groups() == 1
    assert (log.email(single).state, log.email(grouped).state) == (State.QUEUED, State.PENDING)
