"""Outcomes by kind, as counters that only grow."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.outcome_counts import OutcomeCounts, last_sent_at
from mailctl.domain.states import State
from tests.unit.delivery_log.conftest import SENT

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


def send(log: Log) -> None:
    """Have an email sent."""
    log.results.finish(log.claim(log.queue()), State.SENT, outcome=SENT)


def test_each_outcome_counts_once(log: Log) -> None:
    """Whenever it is asked for, and only once it is so old that nothing earlier can still be written."""
    counts = OutcomeCounts()
    send(log)
    assert counts.update(log.engine, now=log.now) == {}
    log.forward(60)
    send(log)
    assert counts.update(log.engine, now=log.now) == {("welcome", State.SENT): 1}
    log.forward(60)
    for _ in range(2):
        assert counts.update(log.engine, now=log.now) == {("welcome", State.SENT): 2}


def test_the_last_time_that_an_email_was_sent(log: Log) -> None:
    """None in an empty log."""
    assert last_sent_at(log.engine) is None
    send(log)
    log.forward(60)
    log.add()
    assert last_sent_at(log.engine) == log.time() - timedelta(seconds=60)
