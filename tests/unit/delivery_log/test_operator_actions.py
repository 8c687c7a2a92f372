"""Actions of operators: what each changes, and what the log says about it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.operator_actions import AuditInfo
from mailctl.delivery_log.queries.failed_attempts import find_failed_attempts
from mailctl.delivery_log.queries.search import EmailFilter, search
from mailctl.domain.eligibility import HOLD, RELEASE, RETRY
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import State
from tests.unit.delivery_log.conftest import REFUSED

if TYPE_CHECKING:
    from mailctl.domain.models import Draft
    from tests.unit.delivery_log.conftest import Log

ADA = AuditInfo(actor="ada", reason="wrong link")


def failed(log: Log) -> str:
    """Return an email that was refused."""
    email_id = log.queue()
    reason = Reason(code=ReasonCode.REFUSED, text="refused")
    log.results.finish(log.claim(email_id), State.FAILED, outcome=REFUSED, reason=reason)
    return email_id


def resend(log: Log, email_id: str, *, again: bool = False) -> Draft | None:
    """Make a copy of an email; return it unless that was refused."""
    copy = log.draft()
    is_done = log.actions.resend(email_id, copy, from_states=[State.FAILED], audit=ADA, again=again)
    return copy if is_done else None


@pytest.mark.parametrize(("reason", "expected"), [("", "held"), ("later", "held: later")])
def test_a_reason_follows_what_was_done(reason: str, expected: str) -> None:
    """If one was given."""
    assert AuditInfo(actor="ada", reason=reason).describe("held") == expected


def test_a_stopped_email_says_who_and_why(log: Log) -> None:
    """With the id of the bulk action, if it was one."""
    email_id = log.queue()
    audit = AuditInfo(actor="ada", reason="spam", bulk_action_id="purge-1")
    log.actions.stop([email_id], State.HELD, from_states=HOLD.allowed_states, done="held", audit=audit)
    email, event = log.email(email_id), log.last_event(email_id)
    assert (email.error, email.reason_code) == ("held by ada (purge-1): spam", ReasonCode.STOPPED)
    assert (event.text, event.actor, event.reason_code) == ("held: spam", "ada", ReasonCode.STOPPED)


def test_what_a_worker_without_the_log_may_have_is_stopped_in_doubt(log: Log) -> None:
    """It asks nobody before it sends; one by one or many at once."""
    single, several, reference = log.add(), log.add(), log.queue()
    log.publications.mark_in_full([single, several])
    states = HOLD.allowed_states
    log.actions.stop([single, reference], State.HELD, from_states=states, done="held", audit=ADA)
    log.actions.stop_matching(
        EmailFilter(states=tuple(states)),
        State.HELD,
        limit=9,
        after=0,
        own_task_kinds=None,
        done="held",
        audit=AuditInfo(actor="ada", reason="", bulk_action_id="hold-1"),
    )
    assert [log.maybe_sent(each) for each in (single, several, reference)] == [True, True, False]
    assert "a worker without this delivery log may have sent it" in (log.email(single).error or "")
    assert log.email(reference).error == "held by ada: wrong link"


def test_a_bulk_action_is_found_by_its_id_until_it_is_undone(log: Log) -> None:
    """Whatever operators write in their reasons."""
    mine, other = log.queue(), log.queue()
    bulk = AuditInfo(actor="ada", reason="spam", bulk_action_id="hold-1")
    single = AuditInfo(actor="ada", reason="like hold-1")
    stopped = EmailFilter(stopped_by="hold-1")
    for email_id, audit in ((mine, bulk), (other, single)):
        log.actions.stop([email_id], State.HELD, from_states=HOLD.allowed_states, done="held", audit=audit)
    assert [email.id for email in search(log.engine, stopped, limit=2).emails] == [mine]
    log.actions.release([mine], from_states=RELEASE.allowed_states, audit=ADA, again=False)
    assert search(log.engine, stopped, limit=2).emails == ()


def test_a_worker_keeps_what_it_has_claimed(log: Log) -> None:
    """Only emails in a fitting state are stopped."""
    claim = log.claim(log.queue())
    stopped = log.actions.stop(
        [claim.id], State.HELD, from_states=HOLD.allowed_states, done="held", audit=ADA
    )
    assert stopped == frozenset()


def test_a_retried_email_starts_anew(log: Log) -> None:
    """Its attempts, its reason and its lifetime."""
    email_id = failed(log)
    lifetime = timedelta(hours=2)
    log.actions.retry(
        [email_id],
        from_states=RETRY.allowed_states,
        audit=ADA,
        lifetime=lifetime,
        is_forced=False,
        again=False,
    )
    email = log.email(email_id)
    assert (email.state, email.attempts, email.reason_code) == (State.PENDING, 0, None)
    assert (email.expires_at, log.last_event(email_id).reason_code) == (
        log.now + lifetime,
        ReasonCode.RETRIED,
    )


def test_a_released_email_keeps_its_scheduled_time(log: Log) -> None:
    """If that has not come yet."""
    later = log.now + timedelta(hours=1)
    email_id = log.add(not_before=later)
    log.actions.stop([email_id], State.HELD, from_states=HOLD.allowed_states, done="held", audit=ADA)
    log.actions.release([email_id], from_states=RELEASE.allowed_states, audit=ADA, again=False)
    assert log.email(email_id).due_at == later


def test_an_email_is_resent_once(log: Log) -> None:
    """Unless the operator says so again; a column names the copy, and the wording does not count."""
    email_id = failed(log)
    copy = resend(log, email_id)
    assert copy is not None
    old = log.email(email_id)
    assert (old.resent_as, old.reason_code) == (copy.id, ReasonCode.RESENT)
    assert log.last_event(copy.id).reason_code is ReasonCode.RESEND
    log.change(email_id, error="in other words")
    assert resend(log, email_id) is None
    assert resend(log, email_id, again=True) is not None
    assert log.actions.read_facts([email_id]).resent == {email_id}


def test_an_email_that_was_resent_did_not_fail_once_more(log: Log) -> None:
    """It failed before; that it was resent is no failure that a command deals with."""
    email_id, since = failed(log), log.time() - timedelta(hours=1)
    before = [(each.at, each.text) for each in find_failed_attempts(log.engine, since=since)]
    log.forward(1)
    assert resend(log, email_id) is not None
    after = find_failed_attempts(log.engine, since=since)
    assert [(each.at, each.text) for each in after] == before


def test_a_text_alone_is_no_resend(log: Log) -> None:
    """A mail server may say what it likes."""
    email_id = failed(log)
    log.change(email_id, error="resent as e2; the mail server may have it already")
    facts = log.actions.read_facts([email_id])
    assert (facts.resent, facts.maybe_sent) == (frozenset(), frozenset())
    assert facts.with_content == {email_id}
