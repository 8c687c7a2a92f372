"""Results of attempts: what is recorded, and by whom."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.models import SentClaim
from mailctl.domain.outcomes import Outcome, OutcomeKind
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import State
from mailctl.process.boot_clock import boottime
from tests.unit.delivery_log.conftest import LATER, NO_REPLY, REFUSED, SENT

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

FAILED = Reason(code=ReasonCode.REFUSED, text="refused")


def test_a_refusal_is_recorded_with_its_stage(log: Log) -> None:
    """In the email and in the event; the claim is over."""
    email_id = log.queue()
    assert log.results.finish(log.claim(email_id), State.FAILED, outcome=REFUSED, reason=FAILED)
    email, event = log.email(email_id), log.last_event(email_id)
    assert (email.error, email.reason_code, email.lease_until) == ("refused", ReasonCode.REFUSED, None)
    assert (event.reason_code, event.stage, event.code) == (ReasonCode.REFUSED, "rcpt", 550)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (LATER, ReasonCode.DEFERRED),
        (NO_REPLY, ReasonCode.NO_REPLY),
        (Outcome(kind=OutcomeKind.CONFIG), ReasonCode.CONFIGURATION),
    ],
)
def test_the_outcome_decides_the_code_of_a_deferral(log: Log, outcome: Outcome, code: ReasonCode) -> None:
    """Its wording does not."""
    email_id = log.queue()
    assert log.defer(log.claim(email_id), outcome)
    event = log.last_event(email_id)
    assert (log.email(email_id).reason_code, event.reason_code) == (code, code)
    assert event.stage == (outcome.stage or None)


@pytest.mark.parametrize(("counts", "attempts"), [(True, 1), (False, 0)])
def test_an_attempt_counts_unless_the_cause_is_not_the_email(log: Log, counts: bool, attempts: int) -> None:
    """Such as wrong credentials."""
    email_id = log.queue()
    log.defer(log.claim(email_id), LATER, counts=counts)
    assert log.email(email_id).attempts == attempts


def test_a_doubt_is_never_taken_back(log: Log) -> None:
    """A later attempt does not tell what became of the earlier one."""
    email_id = log.queue()
    log.defer(log.claim(email_id), LATER, seconds=0)
    assert not log.maybe_sent(email_id)
    log.defer(log.claim(email_id), NO_REPLY, seconds=0)
    log.results.finish(log.claim(email_id), State.FAILED, outcome=REFUSED, reason=FAILED)
    assert log.maybe_sent(email_id)


def test_a_captured_file_is_no_reply(log: Log) -> None:
    """It has a column of its own, whether it is recorded alone or with others."""
    captured = Outcome(kind=OutcomeKind.CAPTURED, captured_file="/mail/x.eml")
    alone, together = log.queue(), log.queue()
    log.results.finish(log.claim(alone), State.CAPTURED, outcome=captured)
    claim = log.claim(together)
    sent = SentClaim(claim=claim, state=State.CAPTURED, outcome=captured, message_id="<m>")
    assert log.results.finish_sent([sent]) == []
    for email in (log.email(alone), log.email(together)):
        assert (email.captured_file, email.reply.text, email.error) == ("/mail/x.eml", "", None)


def test_a_sent_email_has_no_reason_any_more(log: Log) -> None:
    """Its earlier failure is in its events."""
    email_id = log.queue()
    log.defer(log.claim(email_id), LATER, seconds=0)
    claim = log.claim(email_id)
    log.results.finish_sent([SentClaim(claim=claim, state=State.SENT, outcome=SENT, message_id="<m>")])
    email = log.email(email_id)
    assert (email.state, email.error, email.reason_code) == (State.SENT, None, None)


def test_only_the_token_of_the_claim_records_a_result(log: Log) -> None:
    """Another worker may have the email by now."""
    email_id = log.queue()
    stranger = replace(log.claim(email_id), token="another")
    assert not log.results.finish(stranger, State.SENT, outcome=SENT)
    assert not log.defer(stranger, LATER)
    sent = SentClaim(claim=stranger, state=State.SENT, outcome=SENT, message_id="<m>")
    assert log.results.finish_sent([sent]) == [email_id]
    assert log.email(email_id).state is State.SENDING


def test_the_report_of_a_canary_is_kept_apart(log: Log) -> None:
    """Not in the text of a reply."""
    email_id = log.queue()
    steps = [{"name": "connect", "ok": True}]
    log.results.finish(log.claim(email_id), State.SENT, canary_report=steps)
    assert log.lookups.canary_report(email_id) == steps
    assert log.email(email_id).reply.text == ""
    assert log.lookups.canary_report("unknown") == []


def test_an_email_that_is_let_go_was_not_tried(log: Log) -> None:
    """Unless another worker has claimed it by now."""
    claim = log.claim(log.queue())
    assert log.results.let_go(claim)
    email = log.email(claim.id)
    assert (email.state, email.attempts, email.lease_until) == (State.PENDING, 0, None)
    assert log.last_event(claim.id).reason_code is ReasonCode.NOT_STARTED
    assert not log.results.let_go(claim)


@pytest.mark.parametrize(("seconds", "said"), [(1, ""), (64, "; recorded 64 s after that")])
def test_a_result_that_is_recorded_late_says_so(log: Log, seconds: int, said: str) -> None:
    """As after an outage of the log: its time is that of the record, and not of the mail server's reply."""
    outcome = replace(SENT, ended_at=boottime() - seconds)
    alone, together = log.queue(), log.queue()
    log.results.finish(log.claim(alone), State.SENT, outcome=outcome)
    claim = log.claim(together)
    log.results.finish_sent([SentClaim(claim=claim, state=State.SENT, outcome=outcome, message_id="<m>")])
    assert [log.last_event(each).text for each in (alone, together)] == [f"{SENT}{said}"] * 2
