"""Queue statistics: which emails count as what."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.queries.queue_stats import QueueDepth, QueueStats, per_minute
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import UNFINISHED_STATES, State
from tests.emails import NOW
from tests.unit.delivery_log.conftest import LATER, SENT

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

DEPTH = QueueDepth(
    queue="celery", pending=1, queued=2, sending=4, scheduled=8, deferred=16, postponed=6, held=32
)


def test_the_depth_is_what_is_due_now() -> None:
    """Scheduled, deferred and held emails are not in it."""
    assert DEPTH.depth == 1 + 2 + 4


def test_all_counts_together_are_the_unfinished_emails() -> None:
    """Each is counted once."""
    assert DEPTH.unfinished == 1 + 2 + 4 + 8 + 16 + 32
    assert sum(DEPTH.states.values()) == DEPTH.unfinished


def test_states_are_those_of_the_rows() -> None:
    """A scheduled or postponed email is in state `pending`."""
    assert DEPTH.states == {
        State.PENDING: 1 + 8 + 6,
        State.QUEUED: 2,
        State.SENDING: 4,
        State.DEFERRED: 16 - 6,
        State.HELD: 32,
    }
    assert DEPTH.states.keys() == UNFINISHED_STATES


def test_an_empty_queue_has_no_states() -> None:
    """Its depth is 0."""
    empty = QueueDepth(queue="celery")
    assert (empty.depth, empty.unfinished, empty.states, empty.waiting_since) == (0, 0, {}, None)


def test_an_email_that_is_being_sent_still_waits(log: Log) -> None:
    """Its age counts until it is finished."""
    recorded = log.now
    log.claim(log.queue())
    log.forward(60)
    log.queue()
    [depth] = QueueStats(log.engine, clock=log.time).depths().values()
    assert (depth.depth, depth.waiting_since) == (2, recorded)


def test_a_reason_tells_a_delayed_email_from_a_scheduled_one(log: Log) -> None:
    """Both are pending and wait for a time; the text does not count."""
    later = log.now + timedelta(hours=1)
    log.add(not_before=later)
    log.change(log.add(not_before=later), error="so it is", reason_code=ReasonCode.MAIL_SERVER_DOWN)
    [depth] = QueueStats(log.engine, clock=log.time).depths().values()
    assert (depth.scheduled, depth.deferred, depth.pending) == (1, 1, 0)
    assert (depth.postponed, depth.depth, depth.states) == (1, 0, {State.PENDING: 2})


def test_each_stage_is_counted(log: Log) -> None:
    """Finished emails are not."""
    log.add()
    log.queue()
    log.claim(log.queue())
    log.defer(log.claim(log.queue()), LATER)
    log.change(log.add(), state=State.HELD)
    log.change(log.add(), state=State.SENT)
    [depth] = QueueStats(log.engine, clock=log.time).depths().values()
    assert (depth.pending, depth.queued, depth.sending) == (1, 1, 1)
    assert (depth.deferred, depth.held, depth.waiting_since) == (1, 1, log.now)


def test_a_reply_counts_as_an_answer_of_the_server(log: Log) -> None:
    """Of the last email that was offered to it."""
    stats = QueueStats(log.engine, clock=log.time)
    assert stats.last_answer(since=log.now - timedelta(hours=1)) is None
    log.defer(log.claim(log.queue()), LATER)
    answer = stats.last_answer(since=log.now - timedelta(hours=1))
    assert answer is not None
    assert answer.state is State.DEFERRED


def test_throughput_is_counted_by_worker(log: Log) -> None:
    """In the last minute and in the last five."""
    log.results.finish(log.claim(log.queue()), State.SENT, outcome=SENT)
    log.forward(120)
    log.results.finish(log.claim(log.queue()), State.SENT, outcome=SENT)
    throughput = QueueStats(log.engine, clock=log.time).throughput()["w"]
    assert (throughput.last_minute, throughput.last_five_minutes) == (1, 2)


def test_a_queue_that_nothing_leaves_any_more_has_stalled(log: Log) -> None:
    """Emails that went back to the log have not left it; those that have do not say what comes."""
    stats = QueueStats(log.engine, clock=log.time)
    for _ in range(30):
        log.results.finish(log.claim(log.queue()), State.SENT, outcome=SENT)
    log.forward(2)
    assert not stats.rates()["celery"].has_stalled
    log.forward(18)
    log.defer(log.claim(log.queue()), LATER, counts=False)
    rate = stats.rates()["celery"]
    assert (rate.outgoing, rate.idle_seconds, rate.has_stalled) == (90.0, 20.0, True)


def test_emails_ahead_are_those_that_came_before(log: Log) -> None:
    """On the broker, then in the log."""
    stats = QueueStats(log.engine, clock=log.time)
    log.queue()
    log.forward(1)
    second, third = log.queue(), log.add()
    assert stats.count_ahead_of(log.email(second)) == 1
    assert stats.count_ahead_of(log.email(third)) == 2
    assert [email.id for email in stats.next_emails("celery", limit=5)][1:] == [second, third]
    assert stats.find_known([second, "unknown"]).keys() == {second}


def test_emails_of_one_call_are_ahead_of_each_other(log: Log) -> None:
    """They were recorded at the same time."""
    ids = [log.add() for _ in range(3)]
    stats = QueueStats(log.engine, clock=log.time)
    assert [stats.count_ahead_of(log.email(each)) for each in ids] == [0, 1, 2]


@pytest.mark.parametrize(
    ("number", "seconds", "expected"),
    [(1, 1, 2), (19, 10, 38), (100, 3, 2000), (5000, 0, 150_000), (30, 60, 30)],
)
def test_a_rate_is_known_as_soon_as_there_are_many_emails(
    number: int, seconds: float, expected: float
) -> None:
    """A campaign that has just begun is not taken for a slow one; a few emails are no rate yet."""
    rate = per_minute(number, NOW - timedelta(seconds=seconds), now=NOW)
    assert round(rate) == expected
