"""Rules for emails that are finished or held."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl.delivery_log.suppressions import SuppressionScope, SuppressionSource
from mailctl.diagnosis import wording
from mailctl.diagnosis.models import Cause, Certainty
from mailctl.diagnosis.our_faults import find_our_fault
from mailctl.domain.eligibility import RELEASE
from mailctl.domain.outcomes import OPEN_CATEGORIES, OUR_FAULTS, ReplyCategory
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.routing import DEFAULT_SERVER
from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.states import State
from mailctl.smtp.classify import is_recipient_refusal, reply_category

if TYPE_CHECKING:
    from mailctl.delivery_log.reports import LoggedReport
    from mailctl.diagnosis.models import Case
    from mailctl.domain.outcomes import SmtpReply
    from mailctl.domain.shell_command import ShellCommand

_RECIPIENT_REFUSED = "recipient_refused"


_PARTICIPLES = {"complained": "marked as spam by its recipient"}
#: What follows from reports after which the email may still be delivered or not.
_UNDECIDED = {"delayed": "not given up yet", "relayed": "that server reports no delivery"}
#: When a suppression may be removed; more emails to such an address harm the reputation of the sender.
_REMOVAL_CONDITIONS = {
    SuppressionSource.BOUNCE: "the mailbox exists",
    SuppressionSource.COMPLAINT: "the recipient, who reported spam, asks for emails",
}


def accepted(case: Case) -> Cause:
    """Return the cause of `sent`."""
    reply = str(case.email.reply)
    if report := case.last_report("delayed", "relayed"):
        sentence = f"{_handover(case)}, {_reported(report)}; {_UNDECIDED[report.kind]}"
        return Cause(name=report.kind, sentence=sentence)
    if not reply:
        event = case.last_event(State.SENT)
        return Cause(name="accepted", sentence=(event.text if event else "") or "a task reported it as sent")
    server = f" {case.email.server}" if case.email.server else ""
    # Without feedback, only the log of that server can tell what happened to it afterwards.
    queue_id = case.email.reply.queue_id
    ask = (
        f"; if it did not arrive, ask the server's administrator about queue id {queue_id}"
        if queue_id
        else ""
    )
    return Cause(name="accepted", sentence=f"the mail server{server} accepted it: {reply}{ask}")


def delivered(case: Case) -> Cause:
    """Return the cause of `delivered`."""
    return Cause(name="delivered", sentence=_after_handover(case))


def bounced(case: Case) -> Cause:
    """Return the cause of `bounced`."""
    return Cause(name="bounced", sentence=_after_handover(case), next_step=case.command_to_send_again())


def complained(case: Case) -> Cause:
    """Return the cause of `complained`."""
    return Cause(name="complained", sentence=_after_handover(case))


def _after_handover(case: Case) -> str:
    """Return when a mail server accepted it, and what was reported then."""
    report = case.last_report(case.email.state)
    return f"{_handover(case)}, {_reported(report) if report else case.email.state}"


def _handover(case: Case) -> str:
    sent_at = case.email.sent_at
    when = f" at {wording.format_time(sent_at)}" if sent_at else ""
    # Name the server if there are several: the settings may have changed since then.
    is_named = case.email.server not in (None, DEFAULT_SERVER)
    return f"accepted by the mail server{f' {case.email.server}' if is_named else ''}{when}"


def _reported(report: LoggedReport) -> str:
    said, server = str(report.reply), report.remote_server
    verbs = {"bounced": "refused" if server or report.reply.code else "bounced"}
    verb = verbs.get(report.kind, _PARTICIPLES.get(report.kind, report.kind))
    preposition = "to" if report.kind == "relayed" else "by"
    by = f" {preposition} {server}" if server and report.kind != "complained" else ""
    when = wording.format_time(report.at or report.received_at)
    return f"{verb}{by} at {when}: {said}" if said else f"{verb}{by} at {when}"


def captured(case: Case) -> Cause:
    """Return the cause of `captured`."""
    if case.email.captured_file is None:
        return Cause(
            name="captured",
            sentence=f"not sent: {case.email.reply.text}; its own settings say so (such as SUPPRESS_SEND)",
            next_step=case.command_to_send_again(),
        )
    return Cause(
        name="captured",
        sentence=f"captured to {case.email.captured_file}, because EMAIL_ENABLED is False for"
        f" {case.email.worker or 'the worker'}; set it to True, restart the worker and send the email again",
        next_step=case.command_to_send_again(),
    )


def unconfirmed(case: Case) -> Cause:
    """Return the cause of `unconfirmed`."""
    email = case.email
    reason = email.error or "a task of the service has finished with it"
    return Cause(
        name="unconfirmed",
        sentence=f"{reason}; only the log of the mail server can tell whether it was accepted",
        next_step=case.command_to_send_again(),
    )


def failed(case: Case) -> Cause:
    """Return the cause of `failed`."""
    email = case.email
    error = email.error or "failed"
    if email.reason_code is ReasonCode.REFUSED:
        return _refusal(case)
    again = case.command_to_send_again()
    if email.reason_code is ReasonCode.OUT_OF_ATTEMPTS:
        return Cause(name="out_of_attempts", sentence=error, next_step=again)
    if email.reason_code is ReasonCode.OWN_TASK_FAILED:
        return Cause(name="own_task_failed", sentence=error, next_step=again)
    return Cause(name="not_made", sentence=f"it could not be sent: {error}", next_step=again)


def _refusal(case: Case) -> Cause:
    """Return the cause of a refusal, with the words of the mail server and the command for this email."""
    email, event = case.email, case.last_event(State.FAILED)
    cause = cause_of_refusal(email.reply, stage=(event.stage if event else None) or "")
    said = str(email.reply) or email.error or "refused"
    if cause.name == _RECIPIENT_REFUSED:
        rule = case.evidence.suppression
        stopped = "; no other email is sent to it" if rule and rule.scope is SuppressionScope.ALL else ""
        sentence = f"{cause.sentence}: {said}{stopped}"
        return replace(cause, sentence=sentence, next_step=_after_refusal(case, cause))
    sentence = f"{cause.sentence}: {said}; fix the cause first"
    return replace(cause, sentence=sentence, next_step=case.command_to_send_again())


def _after_refusal(case: Case, cause: Cause) -> ShellCommand | None:
    """Return the next step after the recipient was refused: it depends on what is wrong with it."""
    email, event = case.email, case.last_event(State.FAILED)
    stage = (event.stage if event else None) or ""
    if cause.certainty is Certainty.LIKELY:
        return mailctl_command("errors")  # whether others were refused alike
    if reply_category(email.reply, stage=stage) is ReplyCategory.RECIPIENT:
        return case.command_to_send_again()  # such as a full mailbox
    return mailctl_command("list", to=email.to, limit="10")


def cause_of_refusal(reply: SmtpReply, *, stage: str) -> Cause:
    """Return whose fault a permanent refusal is.

    Args:
        reply: the reply of the mail server.
        stage: the SMTP stage at which it came; "" if that is not known.
    """
    category = reply_category(reply, stage=stage)
    if category in OUR_FAULTS and (ours := find_our_fault(category)):
        return ours
    if not is_recipient_refusal(reply, stage=stage):
        return Cause(name="message_refused", sentence="the mail server refused the message")
    if category is ReplyCategory.DEAD_MAILBOX:
        return Cause(name=_RECIPIENT_REFUSED, sentence="the mail server says that the mailbox does not exist")
    is_open = category in OPEN_CATEGORIES
    doubt = ", and does not say whether the recipient or the sender is at fault" if is_open else ""
    return Cause(
        name=_RECIPIENT_REFUSED,
        sentence=f"the mail server refused the recipient{doubt}",
        certainty=Certainty.LIKELY if is_open else Certainty.CERTAIN,
    )


def held(case: Case) -> Cause:
    """Return the cause of `held`."""
    email, event = case.email, case.events[-1] if case.events else None
    step = case.command_for(RELEASE) or case.command_to_send_again()
    if event is not None and event.actor:
        sentence = f"{email.error or f'held by {event.actor}'} (since {wording.format_time(event.at)})"
        return Cause(name="held", sentence=sentence, next_step=step)
    sentence = email.error or "held until an operator decides"
    if email.reason_code is ReasonCode.OWN_TASK_UNKNOWN:
        sentence += "; release it if the mail server's log shows that it was not sent"
    if email.message_id:
        sentence += f"; release it if {email.message_id} is not in the mail server's log"
    return Cause(name="held", sentence=sentence, next_step=step)


def expired(case: Case) -> Cause:
    """Return the cause of `expired`."""
    delay = next(
        (
            event
            for event in reversed(case.events)
            if event.state in (State.DEFERRED, State.HELD) and event.text
        ),
        None,
    )
    reason = f"the delay was caused by: {delay.text}" if delay else "no worker took it in time"
    return Cause(
        name="expired",
        sentence=f"{case.email.error or 'it expired before it could be sent'}; {reason}",
        next_step=case.command_to_send_again(),
    )


def cancelled(case: Case) -> Cause:
    """Return the cause of `cancelled`."""
    event = case.events[-1] if case.events else None
    who = f" by {event.actor}" if event and event.actor else ""
    return Cause(
        name="cancelled",
        sentence=case.email.error or f"cancelled{who}",
        next_step=case.command_for(RELEASE) or case.command_to_send_again(),
    )


def suppressed(case: Case) -> Cause:
    """Return the cause of `suppressed`."""
    rule, email = case.evidence.suppression, case.email
    if email.reason_code is ReasonCode.UNSUBSCRIBED:
        return Cause(name="suppressed", sentence=email.error or "its recipient unsubscribed")
    if rule is None:
        sentence = f"{email.error or 'its address was suppressed'}; the suppression has since been removed"
        return Cause(name="suppressed", sentence=sentence, next_step=case.command_to_send_again())
    since = wording.format_time(rule.created_at)
    if condition := _REMOVAL_CONDITIONS.get(rule.source, ""):
        condition = f"; remove it only if {condition}"
    return Cause(
        name="suppressed",
        sentence=f"its address is suppressed ({rule.source}, {since}): {rule.reason}{condition}",
        next_step=mailctl_command("suppress", "remove", arguments=[rule.address]),
    )


def resent(case: Case) -> Cause | None:
    """Return the cause if it was resent as a new email."""
    new = case.email.resent_as
    if case.email.reason_code is not ReasonCode.RESENT or new is None:
        return None
    return Cause(
        name="resent", sentence=f"resent as {new}", next_step=mailctl_command("why", arguments=[new])
    )


def idempotency(case: Case) -> Cause | None:
    """Return the cause if its idempotency key makes later calls send nothing."""
    keys = case.evidence.idempotency_keys
    if not keys:
        return None
    return Cause(
        name="idempotency",
        sentence=f"until {wording.format_time(keys[0].expires_at)} a call with the idempotency key"
        f" {keys[0].key!r} returns the id of this email and sends nothing",
        next_step=mailctl_command("list", to=case.email.to, limit="10"),
        certainty=Certainty.POSSIBLE,
    )
