"""Rules for emails that a worker has claimed: failing mail servers, open circuits and dead workers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl.checks.agreement import AgreementSubject
from mailctl.diagnosis import wording
from mailctl.diagnosis.attempt_causes import (
    RATE_LIMITED,
    asks_for_lower_rate,
    cause_of_attempt,
    cause_of_server_failure,
)
from mailctl.diagnosis.models import Cause, Certainty
from mailctl.diagnosis.waiting import describe_limits
from mailctl.diagnosis.wording import NO_REPLY_YET
from mailctl.domain.models import MAYBE_SENT
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.shell_command import ShellCommand, mailctl_command
from mailctl.domain.states import State
from mailctl.smtp.classify import is_server_stage
from mailctl.timefmt import format_duration

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.diagnosis.models import Case

#: How long sending one email may take before what is known of it is told.
_LONG_SECONDS = 30
_SEND_RATE = "send_rate"


def dead_worker(case: Case) -> Cause | None:
    """Return the cause if the worker that claimed it is gone, or if its lease has expired."""
    email, evidence = case.email, case.evidence
    holder = _lease_holder(case)
    has_expired = email.lease_until is not None and email.lease_until < case.now
    if holder is not None and not has_expired:
        return None
    if has_expired and email.lease_until is not None:
        lease = f"its lease expired {format_duration(case.now - email.lease_until)} ago"
    else:
        lease = f"its lease expires {_at(email.lease_until)}"
    step: ShellCommand = wording.follow_command(email)
    if evidence.workers:
        takeover = f"after which {evidence.workers[0].name} will take it over"
        recovery = "and a relay will release it now" if has_expired else takeover
    else:
        recovery, step = "and no worker is alive to take it over", mailctl_command("worker")
    is_known_dead = holder is None and any(each.worker.name == email.worker for each in evidence.silent)
    if holder is not None:
        failure = "is alive but has not finished sending it"
    elif is_known_dead or has_expired:
        failure = "died while sending it"
    else:  # whoever is stopped signs off first, and then finishes what it is sending
        failure = "is stopping and still sends it, or has died since"
    return Cause(
        name="lease_of_dead_worker",
        sentence=f"{email.worker} {failure}; {lease}, {recovery}",
        next_step=step,
        certainty=Certainty.CERTAIN if is_known_dead else Certainty.LIKELY,
    )


def dead_process(case: Case) -> Cause | None:
    """Return the cause if a pool process of the worker that claimed it has died since."""
    email, replaced = case.email, case.evidence.replaced_processes
    if not replaced or _lease_holder(case) is None:
        return None
    died = "a process" if replaced == 1 else f"{replaced} processes"
    return Cause(
        name="process_died",
        sentence=f"{died} of {email.worker} died after it had begun to send it, probably the one that was"
        f" sending it; it is released in a moment, or when its lease expires {_at(email.lease_until)}",
        next_step=wording.follow_command(email),
        certainty=Certainty.LIKELY,
    )


def died_before(case: Case) -> Cause | None:
    """Return the cause if a pool process died at the attempt before, so that it is sent again."""
    email, event = case.email, case.last_event(State.PENDING)
    if email.reason_code is not ReasonCode.PROCESS_DIED or event is None:
        return None
    again = (
        f"it is sent again by {email.worker}"
        if email.state is State.SENDING
        else "it will be sent again next"
    )
    return Cause(
        name="process_died",
        sentence=f"a process of {event.worker} died while it was sending it, at"
        f" {wording.format_time(event.at)}; {again}",
        next_step=wording.follow_command(email),
        certainty=Certainty.LIKELY,
    )


def in_hand(case: Case) -> Cause | None:
    """Return the cause if a live worker is sending the email."""
    if _lease_holder(case) is None:
        return None
    length = case.now - case.email.updated_at
    known = _what_is_known(case) if length.total_seconds() > _LONG_SECONDS else ""
    return Cause(
        name="in_hand",
        sentence=f"{case.email.worker} has been sending it for {format_duration(length)}{known}",
        next_step=wording.follow_command(case.email),
        certainty=Certainty.LIKELY,
    )


def _what_is_known(case: Case) -> str:
    """Return clauses about an email that a live worker has not finished.

    The log does not record whether the message was handed over to the mail server.
    """
    rate, limit = case.evidence.learned_rate, case.evidence.reply_limit
    known = f"; {NO_REPLY_YET}, so {MAYBE_SENT}"
    if rate is not None:
        known += f", or it waits for its turn: all workers together now send {rate:.3g} emails a second"
    if limit is not None:
        known += f"; for the reply to a message, a worker waits {format_duration(limit)} at most"
    return known


def circuit_open(case: Case) -> Cause | None:
    """Return the cause if the mail server is failing and the email waits until it works again."""
    email, circuit = case.email, case.evidence.circuit
    is_kept = email.reason_code is ReasonCode.MAIL_SERVER_DOWN
    if not is_kept and (circuit is None or not circuit.is_open):
        return None
    if circuit is None or not circuit.is_open:
        return Cause(
            name="mail_server_down", sentence=f"{email.error}; the next attempt is {_at(email.not_before)}"
        )
    cause = cause_of_server_failure(circuit.stage, category=circuit.category)
    users = [
        worker.name
        for worker in case.evidence.workers
        if worker.identity is not None and circuit.server in worker.identity.servers
    ]
    whose = f" (the server of {', '.join(users)})" if 0 < len(users) < len(case.evidence.workers) else ""
    probe = _at(circuit.probe_at) if circuit.probe_at > case.now else "due"
    details = f"{circuit}{whose}; sending is suspended, and the next probe is {probe}"
    return replace(cause, sentence=f"{cause.sentence}: {details}")


def attempt_failed(case: Case) -> Cause | None:
    """Return the cause if the last attempt failed and another one will follow."""
    email = case.email
    if email.state is not State.DEFERRED and not (case.is_waiting_for_time and email.reason_code):
        return None
    event = case.last_event(State.DEFERRED)
    code, stage = (event.reason_code, event.stage) if event else (email.reason_code, None)
    cause = _cause_of_last_attempt(case, code, stage=stage)
    # Failures caused by our credentials, TLS settings or sender identity do not count as attempts.
    attempt = f"attempt {email.attempts} failed" if email.attempts else "it was not sent"
    sessions = describe_limits(case) if cause.name == "too_many_connections" else ""
    more = "".join([_pace(case, cause), sessions, _next_attempt(case), _suspension(case, code, stage=stage)])
    why = ": ".join(part for part in (cause.sentence, (email.error or "").rstrip(".")) if part)
    return replace(
        cause,
        sentence=f"{attempt} because {why}{more}",
        next_step=cause.next_step or wording.follow_command(email),
    )


def _cause_of_last_attempt(case: Case, code: ReasonCode | None, *, stage: str | None) -> Cause:
    if code is ReasonCode.UNREADABLE_CONTENT:
        return _unreadable(case)
    if code is ReasonCode.SEND_RATE:
        return _send_rate(case)
    reply = case.email.reply
    cause = cause_of_attempt(code, stage=stage, reply=reply)
    if case.email.campaign and asks_for_lower_rate(cause, stage=stage, reply=reply):
        return replace(cause, next_step=slow_down_command(case.email.campaign))
    return cause


def slow_down_command(campaign: str) -> ShellCommand:
    """Return the command that changes the rate of a campaign, whose new rate is left to the operator."""
    return mailctl_command("campaign", "set-rate", arguments=[campaign, "RATE"], is_complete=False)


def _pace(case: Case, cause: Cause) -> str:
    """Return a clause with the rate that workers keep since the mail server has refused faster messages."""
    rate = case.evidence.learned_rate
    if rate is None or cause.name not in (RATE_LIMITED, _SEND_RATE):
        return ""
    return f"; all workers together now send it {rate:.3g} emails a second"


def _next_attempt(case: Case) -> str:
    when = case.email.not_before or case.email.due_at
    if when <= case.now:
        return "; the next attempt is due"
    return f"; the next attempt is {_at(when)}, in {format_duration(when - case.now)}"


def _suspension(case: Case, code: ReasonCode | None, *, stage: str | None) -> str:
    """Return a clause that sending is suspended, for an attempt that a failing mail server has ended."""
    circuit = case.evidence.circuit
    is_of_server = code is ReasonCode.CONFIGURATION or is_server_stage(stage or "")
    if circuit is None or not circuit.is_open or not is_of_server:
        return ""
    return f"; the circuit of {circuit.server} is open, and sending is suspended"


def _send_rate(case: Case) -> Cause:
    """Return the cause of an email that waits for its turn; what the worker recorded says for what.

    Without a rate, it waits for a session, or for other emails to its domain: these are being sent.
    """
    waits_for_others = case.evidence.learned_rate is None
    return Cause(
        name=_SEND_RATE,
        sentence="" if case.email.error else "its turn has not come",
        next_step=mailctl_command("list", state=State.SENDING) if waits_for_others else None,
    )


def _unreadable(case: Case) -> Cause:
    """Return the cause of an email that a worker could not decrypt; it names the process with another key."""
    keys = [each for each in case.evidence.disagreements if each.subject is AgreementSubject.KEYS]
    details = "; ".join(each.detail for each in keys)
    return Cause(
        name="wrong_key",
        sentence=details or f"worker {case.email.worker} does not have the SECRET_KEY that encrypted it",
        next_step=mailctl_command("check-config"),
    )


def _lease_holder(case: Case) -> Worker | None:
    """Return the live worker that claimed the email; a worker started after the claim is a different one."""
    claimed_at = case.email.updated_at
    return next(
        (
            worker
            for worker in case.evidence.workers
            if worker.name == case.email.worker and worker.started_at <= claimed_at
        ),
        None,
    )


def _at(moment: datetime | None) -> str:
    return "soon" if moment is None else f"at {wording.format_time(moment)}"
