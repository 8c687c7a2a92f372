"""Emails that are finished: each end has its cause."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.reports import PROVEN, UNPROVEN, LoggedReport
from mailctl.delivery_log.suppressions import Suppression, SuppressionScope, SuppressionSource
from mailctl.diagnosis.wording import format_time
from mailctl.domain.eligibility import AvailableAction, EligibilityFacts, available_actions
from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.states import State
from tests.emails import NOW
from tests.unit.diagnosis.samples import (
    EMAIL,
    causes,
    event,
    failed,
    names,
)

if TYPE_CHECKING:
    from mailctl.domain.models import Email


@pytest.mark.parametrize(
    ("email", "expected"),
    [
        (replace(EMAIL, state=State.SENT, reply=SmtpReply(code=250, text="ok")), "accepted"),
        (
            failed(EMAIL, ReasonCode.REFUSED, state=State.FAILED, reply=SmtpReply(enhanced="5.1.1")),
            "recipient_refused",
        ),
        (failed(EMAIL, ReasonCode.REFUSED, state=State.FAILED), "message_refused"),
        (failed(EMAIL, ReasonCode.OUT_OF_ATTEMPTS, state=State.FAILED), "out_of_attempts"),
        (failed(EMAIL, ReasonCode.NOT_COMPOSED, state=State.FAILED), "not_made"),
        (failed(EMAIL, ReasonCode.INVALID_MESSAGE, state=State.FAILED), "not_made"),
        (failed(EMAIL, ReasonCode.OWN_TASK_FAILED, state=State.FAILED), "own_task_failed"),
        (failed(EMAIL, ReasonCode.OWN_TASK_UNCONFIRMED, state=State.UNCONFIRMED), "unconfirmed"),
        (replace(EMAIL, state=State.CANCELLED), "cancelled"),
        (replace(EMAIL, state=State.HELD), "held"),
        (replace(EMAIL, state=State.SUPPRESSED), "suppressed"),
    ],
)
def test_each_end_has_its_cause(email: Email, expected: str) -> None:
    """One, and certain or likely."""
    assert names(email) == [expected]


def _report(kind: str, *, proof: str = PROVEN, server: str | None = "mx.example.net") -> LoggedReport:
    """Return what was reported of an email."""
    return LoggedReport(
        email_id="e1",
        source="dsn",
        kind=kind,
        proof=proof,
        at=NOW + timedelta(seconds=3),
        received_at=NOW + timedelta(minutes=1),
        reply=SmtpReply(code=550, enhanced="5.1.1", text="no such user") if server else SmtpReply(),
        remote_server=server,
        is_hard=True,
    )


@pytest.mark.parametrize(
    ("state", "report", "name", "expected"),
    [
        (State.BOUNCED, _report("bounced"), "bounced", "refused by mx.example.net at"),
        (State.BOUNCED, _report("bounced", server=None), "bounced", "bounced at"),
        (State.DELIVERED, _report("delivered"), "delivered", "delivered by mx.example.net at"),
        (State.COMPLAINED, _report("complained"), "complained", "marked as spam by its recipient at"),
        (State.SENT, _report("delayed"), "delayed", "delayed by mx.example.net at"),
        (State.SENT, _report("relayed"), "relayed", "relayed to mx.example.net at"),
    ],
)
def test_what_happened_after_the_handover_is_told_in_one_sentence(
    state: State, report: LoggedReport, name: str, expected: str
) -> None:
    """When a mail server accepted it, and what was reported then, by whom and with which words."""
    email = replace(EMAIL, state=state, sent_at=NOW, reply=SmtpReply(code=250, text="ok"))
    [cause] = causes(email, reports=(report,))
    said = ": 550 5.1.1 no such user" if report.remote_server else ""
    ends = {"delayed": "; not given up yet", "relayed": "; that server reports no delivery"}
    end = ends.get(name, "")
    assert cause.name == name
    handover, later = format_time(NOW), format_time(report.at or NOW)
    assert cause.sentence == f"accepted by the mail server at {handover}, {expected} {later}{said}{end}"


def test_without_a_reply_the_cause_is_what_was_said() -> None:
    """By a task of the service, or by a worker with another log."""
    said = "a worker without this delivery log reports that it was sent"
    [cause] = causes(replace(EMAIL, state=State.SENT, reply=SmtpReply()), event(State.SENT, said))
    assert cause.sentence == said


@pytest.mark.parametrize(("server", "named"), [("backup", " backup"), ("default", ""), (None, "")])
def test_the_server_that_accepted_it_is_named_if_there_are_several(server: str | None, named: str) -> None:
    """The only one needs no name."""
    email = replace(EMAIL, state=State.BOUNCED, server=server)
    [cause] = causes(email, reports=(_report("bounced"),))
    assert cause.sentence.startswith(f"accepted by the mail server{named}, refused by mx.example.net")


def test_what_happened_last_explains_an_email_that_is_under_way() -> None:
    """In whichever order the reports came: a relay that has passed the email on delays it no more."""
    email = replace(EMAIL, state=State.SENT, reply=SmtpReply(code=250, text="ok"))
    relayed = _report("relayed")
    later = replace(_report("delayed"), at=NOW + timedelta(minutes=5))
    earlier = replace(later, at=NOW)
    assert names(email, reports=(relayed, earlier)) == ["relayed"]
    assert names(email, reports=(later, relayed)) == ["delayed"]


def test_an_unproven_report_explains_nothing() -> None:
    """Anybody could have made it."""
    email = replace(EMAIL, state=State.SENT, reply=SmtpReply(code=250, text="ok"))
    assert names(email, reports=(_report("delayed", proof=UNPROVEN),)) == ["accepted"]


def test_a_refusal_at_rcpt_is_about_the_recipient() -> None:
    """Whatever the status says; a refusal at another stage is about the message."""
    email = failed(EMAIL, ReasonCode.REFUSED, state=State.FAILED)
    assert names(email, event(State.FAILED, "no", stage="rcpt")) == ["recipient_refused"]
    assert names(email, event(State.FAILED, "at rcpt: no", stage="body")) == ["message_refused"]


def test_who_held_it_is_named() -> None:
    """With the reason, and how it goes on."""
    held = replace(EMAIL, state=State.HELD, error="held by ada@ops: bad text")
    can_be_done = available_actions(
        held, EligibilityFacts(has_content=True, may_have_been_sent=False, has_been_resent=False), now=NOW
    )
    [first] = causes(
        held, event(State.HELD, "held: bad text", actor="ada@ops"), available_actions=can_be_done
    )
    assert first.sentence == "held by ada@ops: bad text (since 2026-03-01 12:00:00 UTC)"
    assert str(first.next_step) == "mailctl release e1"


def test_what_was_done_is_said_once() -> None:
    """The event of a cancelled email repeats what its error says."""
    cancelled = replace(EMAIL, state=State.CANCELLED, error="cancelled by ada@ops")
    [first] = causes(cancelled, event(State.CANCELLED, "cancelled", actor="ada@ops"))
    assert first.sentence == "cancelled by ada@ops"


@pytest.mark.parametrize("state", [State.SENT, State.FAILED])
def test_a_reply_is_shown_as_the_mail_server_gave_it(state: State) -> None:
    """With both codes, and without what mailctl says around it in the log."""
    reply = SmtpReply(code=550, enhanced="5.7.1", text="as it is")
    refused = failed(EMAIL, ReasonCode.REFUSED, state=state, reply=reply)
    [first] = causes(replace(refused, error="refused at body: 550 5.7.1 as it is"))
    assert ": 550 5.7.1 as it is" in first.sentence
    assert "refused at" not in first.sentence


def test_an_expired_email_names_what_kept_it() -> None:
    """That is the cause behind the cause."""
    kept = event(State.DEFERRED, "config at auth: 535 no")
    [first] = causes(replace(EMAIL, state=State.EXPIRED, error="its links died"), kept)
    assert first.sentence == "its links died; the delay was caused by: config at auth: 535 no"


def suppression(**changes: Any) -> Suppression:
    """Return the rule that suppresses an address after a bounce."""
    fields: dict[str, Any] = {"source": SuppressionSource.BOUNCE, "code": 550, "enhanced": "5.1.1"}
    fields |= {"address": "zoe@example.com", "reason": "550 5.1.1", "actor": None, "created_at": NOW}
    return Suppression(**{**fields, **changes})


@pytest.mark.parametrize(
    ("source", "condition"),
    [
        (SuppressionSource.BOUNCE, "; remove it only if the mailbox exists"),
        (
            SuppressionSource.COMPLAINT,
            "; remove it only if the recipient, who reported spam, asks for emails",
        ),
        (SuppressionSource.OPERATOR, ""),
    ],
)
def test_a_suppressed_address_can_be_let_go_if_its_cause_is_gone(
    source: SuppressionSource, condition: str
) -> None:
    """Which is for the operator to find out; otherwise the next email harms the sender."""
    rule = suppression(source=source)
    [first] = causes(replace(EMAIL, state=State.SUPPRESSED), suppression=rule)
    assert first.sentence.endswith(f": 550 5.1.1{condition}")
    assert str(first.next_step) == "mailctl suppress remove zoe@example.com"


@pytest.mark.parametrize(
    ("scope", "is_told"), [(SuppressionScope.ALL, True), (SuppressionScope.OPTIONAL, False)]
)
def test_a_refused_recipient_that_gets_no_other_email_is_told(scope: SuppressionScope, is_told: bool) -> None:
    """Who has unsubscribed from newsletters still gets a password reset."""
    rule = suppression(scope=scope)
    refused = replace(
        EMAIL, state=State.FAILED, reply=SmtpReply(code=550, enhanced="5.1.1", text="no such user")
    )
    [first] = causes(
        replace(refused, reason_code=ReasonCode.REFUSED),
        event(State.FAILED, "refused", stage="rcpt"),
        suppression=rule,
    )
    assert first.sentence.endswith("; no other email is sent to it") is is_told


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "step"),
    [
        (550, "5.1.1", "no such user", "mailctl list --to"),
        (552, "5.2.2", "Quota exceeded (mailbox for user is full)", "mailctl retry"),
        (550, "5.7.1", "no", "mailctl errors"),
    ],
)
def test_what_to_do_depends_on_what_is_wrong_with_the_recipient(
    code: int, enhanced: str, text: str, step: str
) -> None:
    """A dead mailbox stays dead, a full one is emptied, and a policy may refuse everybody."""
    reply = SmtpReply(code=code, enhanced=enhanced, text=text)
    email = replace(failed(EMAIL, ReasonCode.REFUSED, state=State.FAILED), reply=reply)
    command = mailctl_command("retry", arguments=["e1"])
    retry = AvailableAction(action="retry", description="again", command=command)
    [first, *_] = causes(email, event(State.FAILED, "no", stage="rcpt"), available_actions=(retry,))
    assert str(first.next_step).startswith(step)


def test_the_queue_id_of_the_mail_server_is_named() -> None:
    """Its administrator finds the email by it; without one there is nothing to ask for."""
    queued = SmtpReply(code=250, enhanced="2.0.0", text="Ok: queued as 4F2B71A0C3")
    [cause] = causes(replace(EMAIL, state=State.SENT, reply=queued))
    assert cause.sentence.endswith("ask the server's administrator about queue id 4F2B71A0C3")
    [cause] = causes(replace(EMAIL, state=State.SENT, reply=SmtpReply(code=250, text="ok")))
    assert "queue id" not in cause.sentence
