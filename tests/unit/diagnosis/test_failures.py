"""The cause of one failed attempt."""

from __future__ import annotations

import pytest

from mailctl.diagnosis.failures import cause_of_failure
from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State

NOTHING = SmtpReply()


@pytest.mark.parametrize(
    ("state", "code", "stage", "reply", "name"),
    [
        (State.DEFERRED, ReasonCode.UNREADABLE_CONTENT, "", NOTHING, "wrong_key"),
        (State.DEFERRED, ReasonCode.DEFERRED, "connect", NOTHING, "mail_server_down"),
        (State.DEFERRED, ReasonCode.NO_REPLY, "body", NOTHING, "no_reply"),
        (State.FAILED, ReasonCode.REFUSED, "rcpt", SmtpReply(code=550, text="no"), "recipient_refused"),
        (State.FAILED, ReasonCode.REFUSED, "body", SmtpReply(code=554, text="spam"), "message_refused"),
        (State.FAILED, ReasonCode.OUT_OF_ATTEMPTS, "", NOTHING, "out_of_attempts"),
        (State.FAILED, ReasonCode.OWN_TASK_FAILED, "", NOTHING, "own_task_failed"),
        (State.FAILED, ReasonCode.NOT_COMPOSED, "", NOTHING, "not_made"),
        (State.EXPIRED, ReasonCode.EXPIRED, "", NOTHING, "expired"),
        (State.BOUNCED, ReasonCode.REFUSED, "", NOTHING, "bounced"),
    ],
)
def test_it_is_the_cause_that_why_names(
    state: State, code: ReasonCode, stage: str, reply: SmtpReply, name: str
) -> None:
    """One fault has one name, whether one email or all of them are asked about."""
    assert cause_of_failure(state, code, stage=stage, reply=reply).name == name
