"""Why an email has not been taken by a worker yet."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.diagnosis import wording
from mailctl.diagnosis.models import Cause, Certainty
from mailctl.domain.models import State
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.retry_policy import (
    BLIND_REPUBLISH_SECONDS,
    LOST_MESSAGE_CHECK_SECONDS,
    UNCLAIMED_GRACE_SECONDS,
)
from mailctl.shell_command import mailctl_command, start_worker_command
from mailctl.timefmt import format_duration, format_rate

if TYPE_CHECKING:
    from mailctl.diagnosis.models import Case


def paused(case: Case) -> Cause | None:
    """An operator has stopped its queue or its kind."""
    pause = next((each for each in case.evidence.pauses if each.covers(case.email)), None)
    return (
        None if pause is None else Cause(name="paused", sentence=str(pause), next_step=pause.resume_command)
    )


def scheduled(case: Case) -> Cause | None:
    """It is meant for later."""
    email = case.email
    if email.not_before is None or not case.is_waiting_for_time or email.reason_code:
        return None
    wait = format_duration(email.not_before - case.now)
    when = f"scheduled for {wording.format_time(email.not_before)}, in {wait}"
    return Cause(name="scheduled", sentence=when, next_step=wording.follow_command(email))


def broker_down(case: Case) -> Cause | None:
    """The broker does not answer."""
    trouble = case.evidence.broker_error
    if not trouble:
        return None
    return Cause(
        name="broker_down",
        sentence=f"{describe_wait(case)}; waits for the broker: {trouble.rstrip('.')}",
        next_step=mailctl_command("check-config"),
    )


def no_worker(case: Case) -> Cause | None:
    """Nobody is there who would send it."""
    evidence, queue = case.evidence, case.email.queue
    if case.email.state is not State.QUEUED and not evidence.workers and evidence.consumers:
        return Cause(
            name="no_worker",
            sentence=f"{describe_wait(case)}; "
            "no worker that shares this log is alive, so that nobody publishes it",
            next_step=mailctl_command("worker"),
        )
    if evidence.has_living_worker:
        return None
    consumed = f"no worker consumes queue {queue!r}: " if case.email.state is State.QUEUED else ""
    unsure = " in the log, and the broker was not asked" if evidence.broker_error else ""
    return Cause(
        name="no_worker",
        sentence=f"{describe_wait(case)}; {consumed}no worker is alive{unsure}",
        next_step=start_worker_command(None if evidence.is_usual_queue else queue),
    )


def wrong_queue(case: Case) -> Cause | None:
    """Workers are there, and none of them takes from its queue."""
    evidence, queue = case.evidence, case.email.queue
    if not evidence.has_living_worker or evidence.consumes(queue):
        return None
    seen = wording.join_names(
        f"{name} takes {', '.join(queues)}" for name, queues in evidence.queues_by_worker.items()
    )
    return Cause(
        name="wrong_queue",
        sentence=f"{describe_wait(case)}; no worker consumes queue {queue!r}: {seen}",
        next_step=start_worker_command(queue),
        # Workers of others could not be asked then.
        certainty=Certainty.POSSIBLE if evidence.broker_error else Certainty.CERTAIN,
    )


def unpublishable(case: Case) -> Cause | None:
    """A relay has tried to publish it, and could not."""
    email = case.email
    if email.state is not State.PENDING or email.reason_code is not ReasonCode.PUBLISHING_FAILED:
        return None
    return Cause(
        name="unpublishable",
        sentence=f"{describe_wait(case)}; not published: {(email.error or '').rstrip('.')}",
        next_step=mailctl_command("check-config"),
        certainty=Certainty.LIKELY,
    )


def broker_lost(case: Case) -> Cause | None:
    """It was on the broker, and is not any more."""
    email, search = case.email, case.evidence.search
    if email.state is State.PENDING:
        event = case.last_event(State.PENDING)
        if event is None or event.reason_code not in (ReasonCode.BROKER_LOST, ReasonCode.WORKER_LOST):
            return None
        sentence = f"{event.text}; a relay publishes it again next"
        return Cause(name="broker_lost", sentence=sentence, next_step=wording.follow_command(email))
    if email.queued_at is None or search is None or search.position or not search.is_complete:
        return None
    patience = timedelta(seconds=UNCLAIMED_GRACE_SECONDS)
    if case.now - email.queued_at < patience:
        return None
    again = max(email.queued_at + patience, case.now) + timedelta(seconds=LOST_MESSAGE_CHECK_SECONDS)
    return Cause(
        name="broker_lost",
        sentence=f"{describe_wait(case)}; the broker has lost its message: neither queue {email.queue!r} nor"
        f" a worker has it; a relay publishes it again by {wording.format_time(again)}",
        next_step=wording.follow_command(email),
    )


def held_by_worker(case: Case) -> Cause | None:
    """A worker has its message and has not begun with it."""
    email, search, lease = case.email, case.evidence.search, case.evidence.lease
    if search is None or search.position is None or search.position.ahead is not None:
        return None
    rescue = ""
    if lease and email.queued_at:
        again = wording.format_time(
            max(email.queued_at + lease, case.now) + timedelta(seconds=LOST_MESSAGE_CHECK_SECONDS)
        )
        rescue = f"; if that worker has died, a relay publishes it again by {again}"
    return Cause(
        name="held_by_worker",
        sentence=f"{describe_wait(case)}; a worker has its message and is busy with others{rescue}",
        next_step=mailctl_command("workers"),
        certainty=Certainty.LIKELY,
    )


def in_line(case: Case) -> Cause | None:
    """Others go before it."""
    email, evidence = case.email, case.evidence
    place = evidence.search.position if evidence.search else None
    if email.state is State.QUEUED and evidence.search and evidence.search.is_complete and place is None:
        return None
    ahead = place.ahead if place is not None and place.ahead is not None else evidence.emails_ahead
    if not ahead:
        return None
    noun = "message" if place is not None else "email"
    wait = (
        f", about {format_duration(timedelta(minutes=ahead / evidence.attempts_per_minute))}"
        if evidence.attempts_per_minute
        else ""
    )
    pace = (
        f" at {format_rate(evidence.attempts_per_minute)} a minute"
        if evidence.attempts_per_minute
        else "; none has left it lately"
    )
    place_in_line = f"{wording.pluralize(ahead, noun)} before it in queue {email.queue!r}"
    return Cause(
        name="in_line",
        sentence=f"{describe_wait(case)}; {place_in_line}{wait}{pace}",
        next_step=mailctl_command("queue", "list"),
    )


def on_its_way(case: Case) -> Cause:
    """Nothing is wrong that can be seen."""
    email, evidence = case.email, case.evidence
    if email.state is not State.QUEUED:
        who = evidence.workers[0].name if evidence.workers else "a worker"
        text = f"the relay of {who} publishes it next"
    elif evidence.search is not None and not evidence.search.is_complete and email.queued_at:
        again = wording.format_time(email.queued_at + timedelta(seconds=BLIND_REPUBLISH_SECONDS))
        text = f"it is on its way to a worker; a relay publishes it again at {again} if it never arrives"
    else:
        text = "a worker takes it next"
    return Cause(
        name="on_its_way",
        sentence=f"{describe_wait(case)}; {text}",
        next_step=wording.follow_command(email),
        certainty=Certainty.LIKELY,
    )


def describe_wait(case: Case) -> str:
    """Return since when it has been where it is."""
    email = case.email
    if email.state is State.QUEUED:
        return f"queued {format_duration(case.now - (email.queued_at or email.updated_at))} ago"
    return f"recorded {format_duration(case.now - email.created_at)} ago"
