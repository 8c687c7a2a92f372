"""The cause of one failed attempt, from the facts of its event alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.diagnosis.attempt_causes import cause_of_attempt
from mailctl.diagnosis.ended import cause_of_refusal
from mailctl.diagnosis.models import Cause
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.states import State

if TYPE_CHECKING:
    from mailctl.domain.outcomes import SmtpReply


def cause_of_failure(state: State, code: ReasonCode | None, *, stage: str, reply: SmtpReply) -> Cause:
    """Return why an attempt failed, without the words of the error.

    Args:
        state: the state that it led to: failed, expired, bounced or deferred.
        code: the reason code of the event.
        stage: the SMTP stage; "" if no mail server was contacted.
        reply: the reply of the mail server; without a code if none came.
    """
    if code is ReasonCode.UNREADABLE_CONTENT:
        return _unreadable()
    if state is State.BOUNCED:
        return Cause(name="bounced", sentence="the mail server accepted the email, and it came back")
    if state is State.DEFERRED:
        return cause_of_attempt(code, stage=stage or None, reply=reply)
    if code is ReasonCode.REFUSED:
        return cause_of_refusal(reply, stage=stage)
    return _ended_otherwise(state, code)


def _unreadable() -> Cause:
    return Cause(
        name="wrong_key",
        sentence="the worker does not have the SECRET_KEY that encrypted it",
        next_step=mailctl_command("check-config"),
    )


def _ended_otherwise(state: State, code: ReasonCode | None) -> Cause:
    if state is State.EXPIRED:
        return Cause(name="expired", sentence="the email expired before it could be sent")
    if code is ReasonCode.OUT_OF_ATTEMPTS:
        return Cause(name="out_of_attempts", sentence="the last allowed attempt failed")
    if code is ReasonCode.OWN_TASK_FAILED:
        return Cause(name="own_task_failed", sentence="the service's own task reported a failure")
    return Cause(name="not_made", sentence="the email could not be composed or published")
