"""Refusals: how attempts ended lately, and the return of refused emails, once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.refusals import Refusals
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import State
from tests.unit.delivery_log.conftest import LATER, REFUSED, SENT

if TYPE_CHECKING:
    from mailctl.domain.outcomes import Outcome
    from tests.unit.delivery_log.conftest import Log

HOUR = timedelta(hours=1)
REASON = Reason(code=ReasonCode.REFUSED, text="refused")


@pytest.fixture
def refusals(log: Log) -> Refusals:
    """The refusals of the log."""
    return Refusals(log.engine, clock=log.time)


def end(log: Log, outcome: Outcome, address: str = "zoe@example.com") -> str:
    """Record an email whose attempt has ended in some way, and return its id."""
    email_id = log.queue(address=address)
    claim = log.claim(email_id)
    if outcome is LATER:
        log.defer(claim, outcome)
    elif outcome is SENT:
        log.results.finish(claim, State.SENT, outcome=outcome)
    else:
        log.results.finish(claim, State.FAILED, outcome=outcome, reason=REASON)
    log.forward(1)
    return email_id


def test_the_newest_ends_come_first(log: Log, refusals: Refusals) -> None:
    """Deferrals only if they are asked for, and nothing that is older than the time."""
    old, start = end(log, SENT), log.now
    ids = [end(log, outcome) for outcome in (SENT, LATER, REFUSED)]
    ends = refusals.recent_ends(since=start)
    assert [each.email_id for each in ends] == [ids[2], ids[0]]
    assert [each.reply and each.reply.code for each in ends] == [550, None]
    assert len(refusals.recent_ends(since=start, with_deferrals=True)) == 3
    assert old not in {each.email_id for each in ends}


def test_a_refused_email_is_returned_once(log: Log, refusals: Refusals) -> None:
    """A second refusal is its own; what was sent is never returned."""
    refused, sent, start = end(log, REFUSED), end(log, SENT), log.now - HOUR
    assert list(refusals.refused_once(since=start, server="default")) == [refused]
    assert refusals.return_once([refused, sent], until=log.now + HOUR, text="for all") == 1
    email = log.email(refused)
    assert (email.state, email.not_before) == (State.PENDING, log.now + HOUR)
    log.forward(HOUR.total_seconds())
    log.results.finish(log.claim(refused), State.FAILED, outcome=REFUSED, reason=REASON)
    assert refusals.refused_once(since=start, server="default") == {}
    assert refusals.return_once([refused], until=log.now, text="for all") == 0
    [newest, *_] = refusals.recent_ends(since=start)
    assert newest.email_id != refused  # a second refusal says nothing about the mail server


def test_an_empty_log_has_no_event(refusals: Refusals) -> None:
    """Its number is 0."""
    assert refusals.last_event() == 0
