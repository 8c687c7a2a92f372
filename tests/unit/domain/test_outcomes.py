"""What became of an attempt, as text and as the reason of what follows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailctl.domain.outcomes import Outcome, OutcomeKind, ReplyCategory, SmtpReply
from mailctl.domain.reason_codes import ReasonCode


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (SmtpReply(code=550, enhanced="5.1.1", text="no such user"), "550 5.1.1 no such user"),
        (SmtpReply(text="timed out"), "timed out"),
        (SmtpReply(code=250), "250"),
        (SmtpReply(), ""),
    ],
)
def test_a_reply_is_written_as_the_server_said_it(reply: SmtpReply, text: str) -> None:
    """Without what it did not say."""
    assert str(reply) == text


def test_an_outcome_without_a_reply_is_its_file_or_its_kind() -> None:
    """Something stands there in any case."""
    assert str(Outcome(kind=OutcomeKind.CAPTURED, captured_file="/a.eml")) == "/a.eml"
    assert str(Outcome(kind=OutcomeKind.AMBIGUOUS)) == "ambiguous"


def test_the_stage_is_named_if_there_was_one() -> None:
    """A message that was not offered has none."""
    refused = Outcome(kind=OutcomeKind.REFUSED, stage="rcpt", reply=SmtpReply(code=550, text="no"))
    assert refused.text_with_stage == "at rcpt: 550 no"
    assert refused.text_after("refused") == "refused at rcpt: 550 no"
    silent = Outcome(kind=OutcomeKind.DEFERRED, reply=SmtpReply(text="timed out at body"), stage="body")
    assert silent.text_with_stage == "timed out at body"
    assert silent.text_after("deferred") == "timed out at body"
    assert Outcome(kind=OutcomeKind.CAPTURED, captured_file="/a.eml").text_with_stage == "/a.eml"


@pytest.mark.parametrize("kind", OutcomeKind)
def test_only_what_was_sent_or_captured_needs_no_reason(kind: OutcomeKind) -> None:
    """Everything else says why."""
    is_sent = kind in (OutcomeKind.ACCEPTED, OutcomeKind.CAPTURED)
    assert (Outcome(kind=kind).reason_code is None) == is_sent


def test_a_rate_of_ours_is_another_reason_than_that_of_a_server() -> None:
    """The server was not asked."""
    ours = Outcome(kind=OutcomeKind.DEFERRED, category=ReplyCategory.RATE)
    theirs = Outcome(kind=OutcomeKind.DEFERRED, category=ReplyCategory.RATE, stage="mail")
    assert (ours.reason_code, theirs.reason_code) == (ReasonCode.SEND_RATE, ReasonCode.DEFERRED)


def test_a_message_without_a_session_waits_for_its_turn() -> None:
    """Other processes have those that the server allows: it is no outage."""
    waits = Outcome(kind=OutcomeKind.DEFERRED, category=ReplyCategory.CONNECTIONS, stage="connect")
    refused = replace(waits, reply=SmtpReply(code=421, text="too many connections"))
    assert (waits.reason_code, refused.reason_code) == (ReasonCode.SEND_RATE, ReasonCode.DEFERRED)
