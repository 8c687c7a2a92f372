"""Stalls: workers that take nothing, and relays that publish nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.circuits import FAILURES_TO_OPEN, Circuits
from mailctl.delivery_log.heartbeats import WorkerRegistry
from mailctl.delivery_log.pauses import Pauses, PauseScope
from mailctl.delivery_log.queries.stalls import STALL_SECONDS, find_stalled_workers, find_unpublished
from mailctl.delivery_log.session_shares import SessionShares
from mailctl.domain.routing import DEFAULT_SERVER
from mailctl.domain.session_shares import SessionDemand
from mailctl.settings import GROUPS_QUEUE
from tests.emails import NOW
from tests.workers import IDENTITY, worker

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

#: Longer than a worker may take nothing.
LATER = STALL_SECONDS + 1
WORKER = worker(NOW - timedelta(hours=1), name="celery@a", identity=IDENTITY)


def stalled(log: Log, *workers: Any) -> list[tuple[str, int]]:
    """Return the names of stalled workers, each with how many emails wait."""
    found = find_stalled_workers(log.engine, workers or (WORKER,), now=log.now)
    return [(each.worker, each.waiting) for each in found]


def test_a_worker_that_takes_nothing_while_emails_wait_is_stalled(log: Log) -> None:
    """Neither before some seconds have passed, nor if nothing waits in its queue."""
    assert stalled(log) == []
    log.queue()
    log.queue(address="ada@example.com")
    assert stalled(log) == []
    log.forward(LATER)
    assert stalled(log) == [("celery@a", 2)]
    assert stalled(log, replace(WORKER, queues=("reports",))) == []
    [found] = find_stalled_workers(log.engine, [WORKER], now=log.now)
    assert str(found) == (
        "worker celery@a is alive and consumes queue 'celery', but takes nothing:"
        " 2 emails wait there, the first for 16 s"
    )


def test_emails_of_groups_wait_in_the_queue_of_groups(log: Log) -> None:
    """Not in their own, in which no message of theirs is."""
    log.queue()
    log.change(log.queue(address="ada@example.com"), is_grouped=True)
    log.forward(LATER)
    assert stalled(log) == [("celery@a", 1)]
    both = replace(WORKER, queues=("celery", GROUPS_QUEUE))
    assert stalled(log, both) == [("celery@a", 1), ("celery@a", 1)]


def test_what_was_published_in_full_before_it_started_may_be_with_others(log: Log) -> None:
    """Not what was published since: it has to take that."""
    log.publications.mark_in_full([log.add()])
    later = replace(WORKER, started_at=log.now + timedelta(seconds=1))
    log.forward(3 * LATER)
    assert stalled(log) == [("celery@a", 1)]
    assert stalled(log, later) == []


def test_one_that_takes_others_is_not(log: Log) -> None:
    """Also while it sends a single one for long; another worker of the queue may still be stalled."""
    log.queue()
    log.forward(LATER)
    claim = log.claim(log.queue(address="ada@example.com"), worker="celery@a")
    assert stalled(log) == []
    log.forward(LATER)
    assert stalled(log) == []
    other = replace(WORKER, name="celery@b")
    assert stalled(log, WORKER, other) == [("celery@b", 1)]
    assert claim.worker == "celery@a"


def test_one_that_has_just_started_has_time(log: Log) -> None:
    """It has not had the chance to take any."""
    log.queue()
    log.forward(LATER)
    assert stalled(log, replace(WORKER, started_at=log.now)) == []


def test_a_good_reason_to_take_nothing_is_no_stall(log: Log) -> None:
    """A pause, a schedule, and the circuit of its own mail server."""
    log.queue()
    log.forward(LATER)
    for _ in range(FAILURES_TO_OPEN):
        Circuits(log.engine, "other:25", clock=log.time).record_failure("refused")
    assert stalled(log) == [("celery@a", 1)]
    for _ in range(FAILURES_TO_OPEN):
        Circuits(log.engine, IDENTITY.mail_server, clock=log.time).record_failure("refused")
    assert stalled(log) == []
    assert stalled(log, replace(WORKER, identity=None)) == []
    unknown = replace(WORKER, identity=replace(IDENTITY, mail_server="third:25"))
    Pauses(log.engine, clock=log.time).pause(PauseScope.QUEUE, "celery", actor="ada", reason="")
    assert stalled(log, unknown) == []


def test_an_email_that_was_published_again_still_waits(log: Log) -> None:
    """Relays do so, and its worker takes it no more than before."""
    email_id = log.queue()
    log.forward(LATER)
    log.change(email_id, queued_at=log.now - timedelta(seconds=5))
    assert stalled(log) == [("celery@a", 1)]
    log.change(email_id, queued_at=log.now)
    assert stalled(log) == []


def test_what_a_dead_worker_may_hold_is_not_the_fault_of_another(log: Log) -> None:
    """Until it is published again, the other one cannot take it; more than that it could."""
    for number in range(3):
        log.queue(address=f"{number}@example.com")
    WorkerRegistry(log.engine, clock=log.time).record_heartbeat(
        worker(NOW, id="dead", name="celery@dead", host="another-host", concurrency=1)
    )
    log.forward(LATER)
    assert stalled(log) == []
    log.queue(address="one-more@example.com")
    log.forward(LATER)
    assert stalled(log) == [("celery@a", 4)]


def test_emails_that_no_relay_publishes_are_found(log: Log) -> None:
    """With the reason, if one has said so."""
    email_id = log.add()
    assert find_unpublished(log.engine, [WORKER], now=log.now) is None
    log.forward(LATER)
    found = find_unpublished(log.engine, [WORKER], now=log.now)
    assert str(found) == "1 email is due, and no relay has published anything for 16 s"
    log.publications.postpone(email_id, until=log.now, reason="The broker refuses.")
    found = find_unpublished(log.engine, [WORKER], now=log.now)
    assert str(found).endswith("for 16 s: The broker refuses")


def test_a_relay_that_works_through_a_backlog_is_no_stall(log: Log) -> None:
    """It has published something a moment ago."""
    log.add()
    log.forward(LATER)
    log.queue(address="ada@example.com")
    assert find_unpublished(log.engine, [WORKER], now=log.now) is None


@pytest.mark.parametrize(
    "more", [{"not_before": NOW + timedelta(hours=1)}, {"campaign": "spring"}], ids=["scheduled", "campaign"]
)
def test_what_waits_on_purpose_is_not_unpublished(log: Log, more: dict[str, Any]) -> None:
    """For a later time, or for its turn."""
    log.add(**more)
    log.forward(LATER)
    assert find_unpublished(log.engine, [WORKER], now=log.now) is None


def test_while_all_sessions_are_in_use_nothing_has_to_be_published(log: Log) -> None:
    """Processes that have a session take emails from the log then."""
    log.add()
    log.forward(LATER)
    shares = SessionShares(log.engine, DEFAULT_SERVER, clock=log.time)
    shares.note_refusal("process", SessionDemand(opened=1, wanted=3), reason="421 too many")
    assert find_unpublished(log.engine, [WORKER], now=log.now) is None
    shares.exchange("process", SessionDemand(opened=1, wanted=0))
    assert find_unpublished(log.engine, [WORKER], now=log.now) is not None


def test_while_a_circuit_is_open_nothing_has_to_be_published(log: Log) -> None:
    """Emails are kept back then."""
    log.add()
    log.forward(LATER)
    for _ in range(FAILURES_TO_OPEN):
        Circuits(log.engine, "smtp:587", clock=log.time).record_failure("refused")
    assert find_unpublished(log.engine, [WORKER], now=log.now) is None
