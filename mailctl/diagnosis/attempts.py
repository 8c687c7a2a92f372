"""Why a worker that had an email did not get it through: the mail server, or what became of the worker."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl.diagnosis import wording
from mailctl.diagnosis.models import Cause, Certainty
from mailctl.domain.models import SmtpReply, State
from mailctl.domain.reason_codes import ReasonCode
from mailctl.shell_command import ShellCommand, mailctl_command
from mailctl.smtp.classify import is_rate_limit, is_server_stage
from mailctl.timefmt import format_duration

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.diagnosis.models import Case

#: Seconds after which sending one email is slow.
_SLOW_SECONDS = 30


def dead_worker(case: Case) -> Cause | None:
    """The worker that sends it is gone, or its lease has run out."""
    email, evidence = case.email, case.evidence
    holder = _lease_holder(case)
    is_over = email.lease_until is not None and email.lease_until < case.now
    if holder is not None and not is_over:
        return None
    if is_over and email.lease_until is not None:
        silence = f"its lease ran out {format_duration(case.now - email.lease_until)} ago"
    else:
        silence = f"its lease runs out {_at(email.lease_until)}"
    step: ShellCommand = wording.follow_command(email)
    if evidence.workers:
        rescue = "a relay frees it now" if is_over else f"then {evidence.workers[0].name} takes it over"
    else:
        rescue, step = "no worker is alive to take it over", mailctl_command("worker")
    verdict = "has died while sending it" if holder is None else "has not said a word about it"
    return Cause(
        name="lease_of_dead_worker",
        sentence=f"{email.worker} {verdict}; {silence}, {rescue}",
        next_step=step,
        certainty=Certainty.CERTAIN if holder is None else Certainty.LIKELY,
    )


def in_hand(case: Case) -> Cause | None:
    """A worker is at it."""
    if _lease_holder(case) is None:
        return None
    length = case.now - case.email.updated_at
    is_slow = length.total_seconds() > _SLOW_SECONDS
    return Cause(
        name="in_hand",
        sentence=f"{case.email.worker} has been sending it for {format_duration(length)}"
        + ("; the mail server is slow" if is_slow else ""),
        next_step=mailctl_command("check-config") if is_slow else wording.follow_command(case.email),
        certainty=Certainty.LIKELY,
    )


def circuit_open(case: Case) -> Cause | None:
    """The mail server does not work, and the email waits in the log until it does."""
    email, circuit = case.email, case.evidence.circuit
    is_kept = email.reason_code is ReasonCode.MAIL_SERVER_DOWN
    if not is_kept and (circuit is None or not circuit.is_open):
        return None
    if circuit is None or not circuit.is_open:
        return Cause(name="mail_server_down", sentence=f"{email.error}; it goes out {_at(email.not_before)}")
    cause = cause_of_server_failure(circuit.stage)
    waiting = f"{circuit}; emails are kept back, and one tries it again {_at(circuit.probe_at)}"
    return replace(cause, sentence=f"{cause.sentence}: {waiting}")


def attempt_failed(case: Case) -> Cause | None:
    """The last attempt failed, and there will be another."""
    email = case.email
    if email.state is not State.DEFERRED and not (case.is_waiting_for_time and email.reason_code):
        return None
    event = case.last_event(State.DEFERRED)
    code, stage = (event.reason_code, event.stage) if event else (email.reason_code, None)
    cause = cause_of_attempt(code, stage=stage, enhanced=email.reply.enhanced or "")
    when = email.not_before or email.due_at
    again = f"next attempt {_at(when)}, in {format_duration(when - case.now)}"
    if when <= case.now:
        again = "next attempt is due"
    # What our own credentials, TLS or sender identity caused does not count as an attempt.
    tried = f"attempt {email.attempts} failed" if email.attempts else "not sent"
    circuit = case.evidence.circuit
    is_open = circuit is not None and circuit.is_open and is_server_stage(stage or "")
    kept = "; the circuit is open, emails are kept back" if is_open else ""
    return replace(cause, sentence=f"{tried}, {cause.sentence}: {email.error}; {again}{kept}")


def cause_of_attempt(code: ReasonCode | None, *, stage: str | None, enhanced: str) -> Cause:
    """Return why an attempt failed.

    Args:
        code: the reason code of the attempt.
        stage: the SMTP stage at which it failed; None if no mail server was asked.
        enhanced: the enhanced status code of the reply; "" if it has none.
    """
    if stage in ("tls", "auth"):
        return cause_of_server_failure(stage)
    if is_rate_limit(SmtpReply(enhanced=enhanced), stage=stage or ""):
        return Cause(
            name="rate_limited",
            sentence="the mail server limits us (its rate limit, our reputation, or greylisting)",
            next_step=mailctl_command("queue", "list"),
        )
    if stage == "connect":
        return cause_of_server_failure(stage)
    if code is ReasonCode.NO_REPLY:
        return Cause(
            name="no_reply",
            sentence="the mail server took the message and gave no reply, so that it may have it already",
            certainty=Certainty.LIKELY,
        )
    if code is ReasonCode.CONFIGURATION and stage:
        return Cause(
            name="sender_refused",
            sentence="the mail server does not let us send as EMAIL_FROM_ADDRESS",
            next_step=mailctl_command("check-config"),
        )
    if not stage:
        return Cause(
            name="our_settings",
            sentence="something on our side is not usable",
            next_step=mailctl_command("check-config"),
        )
    return Cause(
        name="mail_server_later", sentence='the mail server said "later"', certainty=Certainty.LIKELY
    )


def cause_of_server_failure(stage: str | None) -> Cause:
    """Return why the mail server itself cannot be used, whatever the email."""
    if stage == "auth":
        return Cause(
            name="smtp_auth",
            sentence="the mail server refuses EMAIL_HOST_USER or EMAIL_HOST_PASSWORD",
            next_step=mailctl_command("check-config"),
        )
    if stage == "tls":
        return Cause(
            name="smtp_tls",
            sentence="TLS with the mail server fails (EMAIL_TLS, EMAIL_CA_FILE, its certificate)",
            next_step=mailctl_command("check-config"),
        )
    return Cause(
        name="mail_server_down",
        sentence="the mail server cannot be used",
        next_step=mailctl_command("check-config"),
    )


def _lease_holder(case: Case) -> Worker | None:
    """Return the living worker that has claimed it; one that was started since is another."""
    begun = case.email.updated_at
    return next(
        (
            worker
            for worker in case.evidence.workers
            if worker.name == case.email.worker and worker.started_at <= begun
        ),
        None,
    )


def _at(moment: datetime | None) -> str:
    return "soon" if moment is None else f"at {wording.format_time(moment)}"
