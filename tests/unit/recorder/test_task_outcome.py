"""What became of an email: the mail server's word first, then what the task tells, and nothing beyond it."""

from __future__ import annotations

from typing import Any

import pytest
from celery.exceptions import Reject, SoftTimeLimitExceeded

from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.recorder.task_outcome import Ending, decide_ending, decide_retry, outcome_of_run
from mailctl.smtp.classify import classify_reply
from mailctl.smtp.observer import ObservedResult

ZOE = "zoe@example.com"
ACCEPTED = ObservedResult(outcome=classify_reply(250, "2.0.0 queued", stage="body"), message_id="<1@shop>")
REFUSED = ObservedResult(outcome=classify_reply(550, "5.1.1 no such user", stage="rcpt"))
LATER = ObservedResult(outcome=classify_reply(451, "4.2.1 later", stage="rcpt"))
NO_REPLY = ObservedResult(
    outcome=Outcome(kind=OutcomeKind.AMBIGUOUS, reply=SmtpReply(text="no reply"), stage="body")
)


def ending(
    *results: tuple[str, ObservedResult],
    state: str | None = "SUCCESS",
    value: Any = True,
    suppressed: tuple[str, ...] = (),
    address: str = ZOE,
) -> Ending:
    """Return what became of the email to Zoe."""
    reported = outcome_of_run(state, value, task="shop.send")
    return decide_ending(address, dict(results), frozenset(suppressed), reported)


@pytest.mark.parametrize(
    ("state", "value"),
    [("SUCCESS", True), ("SUCCESS", False), ("FAILURE", ValueError("x")), (None, None), ("IGNORED", None)],
)
def test_what_a_mail_server_accepted_is_sent(state: str | None, value: Any) -> None:
    """Whatever the task makes of it afterwards."""
    found = ending((ZOE, ACCEPTED), state=state, value=value)
    assert (found.state, found.message_id, found.reason) == (State.SENT, "<1@shop>", None)


@pytest.mark.parametrize("value", [None, True, "ok", {"success": True}, 250])
def test_success_alone_proves_nothing(value: Any) -> None:
    """No reply was seen: it may have been suppressed, sent by another way, or forgotten."""
    found = ending(value=value)
    assert found.state is State.UNCONFIRMED
    assert found.reason is not None
    assert found.reason.code is ReasonCode.OWN_TASK_UNCONFIRMED


def test_an_email_to_somebody_else_is_no_proof() -> None:
    """Such as a copy for the operator."""
    found = ending(("copy@example.com", ACCEPTED))
    assert found.state is State.UNCONFIRMED
    assert found.reason is not None
    assert "other addresses" in found.reason.text


@pytest.mark.parametrize("value", [False, {"success": False}, {"error": "x"}])
def test_a_result_that_says_failure_is_a_failure(value: Any) -> None:
    """The usual pattern catches the error of the mail server."""
    found = ending(value=value)
    assert found.state is State.FAILED
    assert found.reason is not None
    assert found.reason.code is ReasonCode.OWN_TASK_FAILED


def test_a_refused_recipient_is_seen_although_the_task_succeeds() -> None:
    """smtplib and aiosmtplib return refused recipients when others were accepted."""
    found = ending(("bob@example.com", ACCEPTED), (ZOE, REFUSED))
    assert found.state is State.FAILED
    assert found.reason is not None
    assert (found.reason.code, found.outcome) == (ReasonCode.REFUSED, REFUSED.outcome)


def test_a_deferral_without_a_retry_is_a_failure() -> None:
    """Nobody will try again."""
    found = ending((ZOE, LATER))
    assert found.state is State.FAILED
    assert found.reason is not None
    assert found.reason.code is ReasonCode.OWN_TASK_FAILED


def test_a_lost_reply_is_held() -> None:
    """Nothing is sent twice, and nobody says that it was sent."""
    found = ending((ZOE, NO_REPLY), state="FAILURE", value=TimeoutError())
    assert found.state is State.HELD
    assert found.reason is not None
    assert found.reason.code is ReasonCode.NO_REPLY


def test_what_a_mail_library_suppressed_is_captured() -> None:
    """Only if it was seen, and the task did not fail."""
    assert ending(suppressed=(ZOE,)).state is State.CAPTURED
    assert ending(suppressed=(ZOE,), value=False).state is State.FAILED
    assert ending(suppressed=("bob@example.com",)).state is State.UNCONFIRMED


def test_the_text_of_an_exception_is_not_recorded() -> None:
    """It may hold a token; what the system says may not."""
    found = ending(state="FAILURE", value=ValueError("https://shop.example/?t=secret-token"))
    assert found.reason is not None
    assert "ValueError" in found.reason.text
    assert "secret" not in found.reason.text
    found = ending(state="FAILURE", value=ConnectionRefusedError(111, "x"))
    assert found.reason is not None
    assert "Connection refused" in found.reason.text


def test_an_interrupted_task_may_have_sent() -> None:
    """A time limit came while nobody looked."""
    found = ending(state="FAILURE", value=SoftTimeLimitExceeded())
    assert (found.state, found.outcome is not None) == (State.FAILED, True)
    assert found.outcome is not None
    assert found.outcome.kind is OutcomeKind.AMBIGUOUS


def test_a_task_that_rejects_its_message_has_failed() -> None:
    """The broker throws it away, or moves it aside."""
    assert ending(state="REJECTED", value=Reject("no", requeue=False)).state is State.FAILED


def test_the_end_of_the_process_leaves_the_email_in_doubt() -> None:
    """It is held."""
    assert ending(state=None, value=None).state is State.HELD


def test_the_mail_server_tells_the_recipient_that_the_arguments_do_not() -> None:
    """A task may look the address up itself."""
    found = ending((ZOE, ACCEPTED), address="")
    assert (found.state, found.address) == (State.SENT, ZOE)
    assert ending((ZOE, ACCEPTED), ("bob@example.com", ACCEPTED), address="").state is State.UNCONFIRMED


@pytest.mark.parametrize(
    ("results", "state", "text"),
    [
        ({}, State.DEFERRED, "the task asked for a retry: TimeoutError"),
        ({ZOE: LATER}, State.DEFERRED, "later"),
        ({ZOE: NO_REPLY}, State.DEFERRED, "no reply"),
        ({ZOE: ACCEPTED}, State.SENT, "queued"),
    ],
)
def test_a_retry_defers_what_was_not_accepted(
    results: dict[str, ObservedResult], state: State, text: str
) -> None:
    """What was accepted is not sent again, although the task asks for it."""
    found = decide_retry(ZOE, results, TimeoutError())
    assert found.state is state
    assert found.outcome is not None
    assert found.outcome.reply.text == text
