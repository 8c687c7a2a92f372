"""Decides how an email ends when its task does, from replies of mail servers and the result of the task."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from celery import states

from mailctl.domain.models import MAYBE_SENT
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.own_tasks import outcome_of_error, outcome_of_value
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import SENT_OR_CAPTURED, State

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mailctl.domain.own_tasks import OwnTaskOutcome, ResultTranslator
    from mailctl.smtp.observer import ObservedResult


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The state of an email after its task has run."""

    state: State
    outcome: Outcome | None = None
    #: Why it was not sent, or is not known to be sent; None if it was sent or captured.
    reason: Reason | None = None
    message_id: str | None = None
    #: The recipient, if the SMTP session showed it and the arguments of the task did not; "" otherwise.
    address: str = ""


def outcome_of_run(
    state: str | None, value: object, *, task: str, translate: ResultTranslator | None = None
) -> OwnTaskOutcome | None:
    """Return the outcome according to the task itself; None if its process is ending.

    Args:
        state: the Celery state; None if the process is ending.
        value: the returned value, or the exception.
        task: the name of the task.
        translate: the translator of MAILCTL_RESULT_OUTCOME; None to use mailctl's rules.
    """
    if state is None:
        return None
    if state == states.REJECTED:
        return outcome_of_error("Reject", "")
    if state in states.EXCEPTION_STATES and isinstance(value, BaseException):
        return outcome_of_error(type(value).__name__, _system_error(value))
    return outcome_of_value(value, task=task, translate=translate)


def decide_ending(
    address: str,
    results: Mapping[str, ObservedResult],
    suppressed: frozenset[str],
    reported: OwnTaskOutcome | None,
) -> Ending:
    """Return the state of an email whose task has ended. Replies of mail servers count first.

    Args:
        address: its recipient; "" if the arguments of the task do not name one.
        results: the last reply about each recipient during this run, by address.
        suppressed: the recipients of emails that a mail library suppressed during this run.
        reported: the outcome according to the task itself; None if its process is ending.
    """
    learned = "" if address else _only_one({*results, *suppressed})
    recipient = (address or learned).lower()
    if (result := results.get(recipient)) is not None:
        return replace(_ending_by_reply(result), address=learned)
    if reported is None:
        return _ENDED_WITH_PROCESS
    if recipient in suppressed and reported.state is not State.FAILED:
        return Ending(state=State.CAPTURED, outcome=_SUPPRESSED, address=learned)
    if reported.state in SENT_OR_CAPTURED:
        kind = OutcomeKind.ACCEPTED if reported.state is State.SENT else OutcomeKind.CAPTURED
        return Ending(
            state=reported.state, outcome=Outcome(kind=kind, reply=SmtpReply(text=reported.reason.text))
        )
    if reported.may_have_been_sent:
        ambiguous = Outcome(kind=OutcomeKind.AMBIGUOUS, reply=SmtpReply(text=reported.reason.text))
        return Ending(state=reported.state, outcome=ambiguous, reason=reported.reason)
    others = "; it sent email to other addresses" if _has_accepted(results) else ""
    return Ending(
        state=reported.state, reason=replace(reported.reason, text=f"{reported.reason.text}{others}")
    )


def decide_retry(address: str, results: Mapping[str, ObservedResult], error: BaseException | None) -> Ending:
    """Return the state of an email whose task asks Celery for a retry: already sent, or deferred.

    Args:
        address: its recipient; "" if the arguments of the task do not name one.
        results: the last reply about each recipient during this run, by address.
        error: the error that the task is handling; None if there is none.
    """
    learned = "" if address else _only_one(results.keys())
    result = results.get((address or learned).lower())
    if result is not None and result.outcome.kind is OutcomeKind.ACCEPTED:
        return replace(_ending_by_reply(result), address=learned)
    if result is not None and result.outcome.kind is OutcomeKind.AMBIGUOUS:
        return Ending(state=State.DEFERRED, outcome=result.outcome, message_id=result.message_id)
    why = "" if error is None else f": {type(error).__name__} {_system_error(error)}".rstrip()
    reply = result.outcome.reply if result is not None else SmtpReply(text=f"the task asked for a retry{why}")
    return Ending(state=State.DEFERRED, outcome=Outcome(kind=OutcomeKind.DEFERRED, reply=reply))


_SUPPRESSED = Outcome(
    kind=OutcomeKind.CAPTURED, reply=SmtpReply(text="the service's mail library suppressed it")
)
_ENDED_WITH_PROCESS = Ending(
    state=State.HELD,
    outcome=Outcome(kind=OutcomeKind.AMBIGUOUS, reply=SmtpReply(text="its worker process ended")),
    reason=Reason(
        code=ReasonCode.WORKER_DISAPPEARED, text=f"its worker process ended while sending; {MAYBE_SENT}"
    ),
)


def _ending_by_reply(result: ObservedResult) -> Ending:
    outcome = result.outcome
    if outcome.kind is OutcomeKind.ACCEPTED:
        return Ending(state=State.SENT, outcome=outcome, message_id=result.message_id)
    if outcome.kind is OutcomeKind.AMBIGUOUS:
        reason = Reason(code=ReasonCode.NO_REPLY, text=f"{outcome.text_with_stage}; {MAYBE_SENT}")
        return Ending(state=State.HELD, outcome=outcome, reason=reason, message_id=result.message_id)
    is_refused = outcome.kind is OutcomeKind.REFUSED
    code = ReasonCode.REFUSED if is_refused else ReasonCode.OWN_TASK_FAILED
    text = outcome.text_after("refused")
    text += "" if is_refused else "; the service's own task does not try again"
    return Ending(state=State.FAILED, outcome=outcome, reason=Reason(code=code, text=text))


def _system_error(error: BaseException) -> str:
    """Return the operating system's text for an error; other texts may contain a token or an address."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if isinstance(number, int) else ""


def _only_one(addresses: Collection[str]) -> str:
    return next(iter(addresses)) if len(addresses) == 1 else ""


def _has_accepted(results: Mapping[str, ObservedResult]) -> bool:
    return any(result.outcome.kind is OutcomeKind.ACCEPTED for result in results.values())
