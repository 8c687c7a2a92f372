"""Why an email ended as it did, or is kept for an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.diagnosis import wording
from mailctl.diagnosis.models import Cause, Certainty
from mailctl.domain.eligibility import RELEASE
from mailctl.domain.models import State
from mailctl.domain.reason_codes import ReasonCode
from mailctl.shell_command import mailctl_command
from mailctl.smtp.classify import is_recipient_refusal

if TYPE_CHECKING:
    from mailctl.diagnosis.models import Case


def accepted(case: Case) -> Cause:
    """The mail server has it; what happens then, only that server knows."""
    email = case.email
    reply = " ".join(str(part) for part in (email.reply.code, email.reply.text) if part)
    if not reply:
        return Cause(name="accepted", sentence="reported as sent by a task of the service")
    # What becomes of it now, only that server's log tells.
    return Cause(name="accepted", sentence=f"accepted by the mail server: {reply}")


def captured(case: Case) -> Cause:
    """Nothing is sent where EMAIL_ENABLED is False."""
    return Cause(
        name="captured",
        sentence=f"written to {case.email.captured_file}, because EMAIL_ENABLED is False where"
        f" {case.email.worker or 'the worker'} runs: set it to True there, restart, and send again",
        next_step=case.command_to_send_again(),
    )


def failed(case: Case) -> Cause:
    """The mail server refused it, or it could not be made."""
    email = case.email
    error = email.error or "failed"
    is_refused = email.reason_code is ReasonCode.REFUSED
    event = case.last_event(State.FAILED)
    again = case.command_to_send_again()
    if is_refused and is_recipient_refusal(email.reply, stage=(event.stage if event else None) or ""):
        sentence = f"the mail server refused the recipient: {error}"
        return Cause(
            name="recipient_refused",
            sentence=sentence,
            next_step=mailctl_command("list", to=email.to, limit="10"),
        )
    if is_refused:
        sentence = f"the mail server refused the message: {error}"
        return Cause(name="message_refused", sentence=sentence, next_step=again)
    if email.reason_code is ReasonCode.OUT_OF_ATTEMPTS:
        return Cause(name="out_of_attempts", sentence=error, next_step=again)
    if email.reason_code is ReasonCode.OWN_TASK_FAILED:
        return Cause(name="own_task_failed", sentence=error, next_step=again)
    return Cause(name="not_made", sentence=f"it could not be sent: {error}", next_step=again)


def held(case: Case) -> Cause:
    """It is kept until an operator decides."""
    email, event = case.email, case.events[-1] if case.events else None
    step = case.command_for(RELEASE) or case.command_to_send_again()
    if event is not None and event.actor:
        reason = f": {event.text}" if event.text else ""
        sentence = f"held by {event.actor} since {wording.format_time(event.at)}{reason}"
        return Cause(name="held", sentence=sentence, next_step=step)
    sentence = email.error or "held for an operator"
    if email.message_id:
        sentence += f"; release it if the mail server's log does not have {email.message_id}"
    return Cause(name="held", sentence=sentence, next_step=step)


def expired(case: Case) -> Cause:
    """It lost its use before it could go out."""
    kept_it = next(
        (
            event
            for event in reversed(case.events)
            if event.state in (State.DEFERRED, State.HELD) and event.text
        ),
        None,
    )
    before = f"; what kept it was: {kept_it.text}" if kept_it else "; nobody took it in time"
    return Cause(
        name="expired",
        sentence=f"{case.email.error or 'it lost its use before it could go out'}{before}",
        next_step=case.command_to_send_again(),
    )


def cancelled(case: Case) -> Cause:
    """An operator took it back."""
    event = case.events[-1] if case.events else None
    who = f" by {event.actor}" if event and event.actor else ""
    reason = f": {event.text}" if event and event.text else ""
    return Cause(
        name="cancelled",
        sentence=f"cancelled{who}{reason}",
        next_step=case.command_for(RELEASE) or case.command_to_send_again(),
    )


def suppressed(case: Case) -> Cause:
    """Its address is one that nothing is sent to."""
    rule, email = case.evidence.suppression, case.email
    if rule is None:
        sentence = f"{email.error or 'its address was suppressed'}; it is not any more"
        return Cause(name="suppressed", sentence=sentence, next_step=case.command_to_send_again())
    since = wording.format_time(rule.created_at)
    return Cause(
        name="suppressed",
        sentence=f"its address is suppressed ({rule.source}, {since}): {rule.reason}",
        next_step=mailctl_command("suppress", "remove", arguments=[rule.address]),
    )


def resent(case: Case) -> Cause | None:
    """A new email was made of it, which counts from then on."""
    new = case.email.resent_as
    if case.email.reason_code is not ReasonCode.RESENT or new is None:
        return None
    return Cause(
        name="resent", sentence=f"resent as {new}", next_step=mailctl_command("why", arguments=[new])
    )


def idempotency(case: Case) -> Cause | None:
    """Later calls with its idempotency key got this email, and sent nothing."""
    keys = case.evidence.idempotency_keys
    if not keys:
        return None
    return Cause(
        name="idempotency",
        sentence=f"a call with the idempotency key {keys[0].key!r} is made one with this email until"
        f" {wording.format_time(keys[0].expires_at)}: it gets this id and sends nothing",
        next_step=mailctl_command("list", to=case.email.to, limit="10"),
        certainty=Certainty.POSSIBLE,
    )
