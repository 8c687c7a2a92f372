"""Why an email is where it is, in one sentence: decided from evidence alone, without asking anybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.message import CLAIMABLE_STATES, Email, State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from mailctl.broker import Place
    from mailctl.log.pauses import Pause
    from mailctl.log.workers import Worker


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What could be found out about an email that is not finished."""

    #: Workers that share the delivery log.
    workers: tuple[Worker, ...] = ()
    #: Queues that Celery workers of any kind consume, by node; None if nobody could be asked.
    consumers: Mapping[str, tuple[str, ...]] | None = None
    place: Place | None = None
    #: Why the broker could not be asked; "" if it answered.
    broker_trouble: str = ""
    is_in_memory: bool = False
    #: What operators have stopped.
    pauses: tuple[Pause, ...] = ()

    def consumes(self, queue: str) -> bool:
        """Whether somebody alive takes messages from a queue."""
        by_ours = any(queue in worker.queues for worker in self.workers)
        return by_ours or any(queue in queues for queues in (self.consumers or {}).values())

    def pause_of(self, email: Email) -> Pause | None:
        """Return what an operator has stopped that an email is of, if anything."""
        return next((pause for pause in self.pauses if pause.covers(email)), None)


def explain(email: Email, evidence: Evidence, *, now: datetime) -> str:
    """Return one sentence that says why `email` is in its state, and what would move it on."""
    if email.state in CLAIMABLE_STATES and (pause := evidence.pause_of(email)):
        return f"{pause}; let it go on with `{pause.remedy}`"
    match email.state:
        case State.PENDING:
            return _pending(email, evidence, now=now)
        case State.QUEUED:
            return _queued(email, evidence, now=now)
        case State.SENDING:
            return _sending(email, evidence, now=now)
        case State.DEFERRED:
            return _deferred(email, evidence, now=now)
        case _:
            return _ended(email)


def _pending(email: Email, evidence: Evidence, *, now: datetime) -> str:
    if email.not_before and email.not_before > now and email.error:
        return f"{email.error}; tried again at {_time(email.not_before)}, in {_span(email.not_before - now)}"
    if email.not_before and email.not_before > now:
        return f"scheduled for {_time(email.not_before)}, in {_span(email.not_before - now)}"
    waited = f"recorded {_span(now - email.created_at)} ago"
    if evidence.broker_trouble:
        return f"{waited}; waits for the broker: {evidence.broker_trouble}"
    if not evidence.workers:
        return f"{waited}; no worker is alive to take it: start one with `mailctl worker`"
    if email.error:
        return f"{waited}; not published: {email.error}"
    return f"{waited}; the relay of {evidence.workers[0].name} publishes it next"


def _queued(email: Email, evidence: Evidence, *, now: datetime) -> str:
    waited = f"queued {_span(now - (email.queued_at or email.updated_at))} ago"
    if evidence.broker_trouble:
        return f"{waited}; {evidence.broker_trouble}"
    if not evidence.consumes(email.queue):
        alive = f"; {len(evidence.workers)} alive on other queues" if evidence.workers else ""
        return f"{waited}; no worker consumes queue {email.queue!r}{alive}"
    if evidence.place is None:
        return (
            f"{waited}; a worker takes it next"
            if evidence.is_in_memory
            else f"{waited}; on its way to a worker"
        )
    if evidence.place.ahead is None:
        return f"{waited}; a worker has its message"
    return f"{waited}; {_count(evidence.place.ahead, 'message')} before it in queue {email.queue!r}"


def _sending(email: Email, evidence: Evidence, *, now: datetime) -> str:
    text = f"{email.worker} has been sending it for {_span(now - email.updated_at)}"
    if email.lease_until and email.lease_until < now:
        rescue = "a relay frees it now" if evidence.workers else "no worker is alive to free it"
        return f"{text}, but its lease ran out {_span(now - email.lease_until)} ago; {rescue}"
    return text


def _deferred(email: Email, evidence: Evidence, *, now: datetime) -> str:
    # What our own credentials, TLS or sender identity caused does not count as an attempt.
    reason = f"attempt {email.attempts} failed: {email.error}" if email.attempts else f"kept: {email.error}"
    when = email.not_before or email.due_at
    if when > now:
        next_try = f"next attempt at {_time(when)}, in {_span(when - now)}"
    else:
        next_try = "next attempt is due"
    alive = "" if evidence.workers else "; no worker is alive to make it"
    return f"{reason}; {next_try}{alive}"


def _ended(email: Email) -> str:
    match email.state:
        case State.SENT:
            reply = " ".join(str(part) for part in (email.reply.code, email.reply.text) if part)
            return (
                f"accepted by the mail server: {reply}"
                if reply
                else "reported as sent by a task of the service"
            )
        case State.CAPTURED:
            return f"written to {email.reply.text}, because EMAIL_ENABLED is False"
        case _:
            return email.error or f"{email.state}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _span(length: timedelta) -> str:
    """Return a length of time in the unit that suits it."""
    seconds = max(0, round(length.total_seconds()))
    if seconds < 90:
        return f"{seconds} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86400)} days"
