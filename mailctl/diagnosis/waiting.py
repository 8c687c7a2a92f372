"""Rules for emails that no worker has claimed yet."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.checks.silent_workers import describe_silence
from mailctl.diagnosis import wording
from mailctl.diagnosis.models import Cause, Certainty
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.retry_policy import (
    LOST_MESSAGE_CHECK_SECONDS,
    UNCLAIMED_GRACE_SECONDS,
)
from mailctl.domain.shell_command import ShellCommand, mailctl_command, start_worker_command
from mailctl.domain.states import State
from mailctl.timefmt import format_duration, format_rate, pluralize

if TYPE_CHECKING:
    from mailctl.diagnosis.models import Case, Evidence, SilentWorker


def paused(case: Case) -> Cause | None:
    """Return the cause if an operator has paused its queue or kind."""
    pause = next((each for each in case.evidence.pauses if each.covers(case.email)), None)
    return (
        None if pause is None else Cause(name="paused", sentence=str(pause), next_step=pause.resume_command)
    )


def scheduled(case: Case) -> Cause | None:
    """Return the cause if it is scheduled for later."""
    email = case.email
    if email.not_before is None or not case.is_waiting_for_time or email.reason_code:
        return None
    wait = format_duration(email.not_before - case.now)
    when = f"scheduled for {wording.format_time(email.not_before)}, in {wait}"
    return Cause(name="scheduled", sentence=when, next_step=wording.follow_command(email))


def broker_down(case: Case) -> Cause | None:
    """Return the cause if the broker could not be queried."""
    error = case.evidence.broker_error
    if not error:
        return None
    return Cause(
        name="broker_down",
        sentence=f"{describe_wait(case)}; the broker could not be queried: {error.rstrip('.')}",
        next_step=mailctl_command("check-config"),
    )


def broker_refuses(case: Case) -> Cause | None:
    """Return the cause if the broker answers, but accepts no message."""
    error = case.evidence.publish_error
    if not error:
        return None
    return Cause(
        name="broker_refuses",
        sentence=f"{describe_wait(case)}; it cannot be published: {error.rstrip('.')}",
        next_step=mailctl_command("check-config"),
    )


def own_task_silent(case: Case) -> Cause | None:
    """Return the cause if an own task has taken its message, and there is no result yet."""
    if not case.email.is_own_task or not _may_be_with_others(case):
        return None
    return Cause(
        name="own_task_silent",
        sentence=f"{describe_wait(case)} for the service's own task; its message is no longer on the broker:"
        " that task is sending it or has ended, and there is no result that shows which",
        next_step=mailctl_command("check-config"),
        certainty=Certainty.LIKELY,
    )


def message_gone(case: Case) -> Cause | None:
    """Return the cause if its message is gone: a worker without this log has it, or it was lost."""
    email = case.email
    if not email.is_in_full or not _may_be_with_others(case) or email.queued_at is None:
        return None
    if case.now - email.queued_at < timedelta(seconds=UNCLAIMED_GRACE_SECONDS):
        return None
    can_decide = bool(case.evidence.workers)
    return Cause(
        name="message_gone",
        sentence=f"{describe_wait(case)}; neither queue {email.queue!r} nor a worker of this log has its"
        " message, and no result tells what became of it: a worker without this log has taken it, or the"
        " broker has lost it; a relay publishes it again if it is known that nobody can have taken it, and"
        " otherwise holds it",
        next_step=wording.follow_command(email) if can_decide else mailctl_command("worker"),
        certainty=Certainty.LIKELY,
    )


def _may_be_with_others(case: Case) -> bool:
    """Whether a worker that does not ask this log has the message of an email, or the broker lost it."""
    email, search = case.email, case.evidence.search
    is_published = email.state is State.QUEUED and email.queued_at is not None
    is_gone = search is not None and search.position is None and search.is_complete
    return is_published and is_gone and (email.is_own_task or email.is_in_full)


def unregistered_task(case: Case) -> Cause | None:
    """Return the cause if a worker that consumes its queue does not have its task, and discards messages."""
    evidence, email = case.evidence, case.email
    if not evidence.discarding or (evidence.search is not None and evidence.search.position):
        return None
    names = wording.join_names(evidence.discarding)
    verb = "consumes" if len(evidence.discarding) == 1 else "consume"
    queues = " or ".join(repr(queue) for queue in dict.fromkeys([email.queue, email.message_queue]))
    return Cause(
        name="unregistered_task",
        sentence=f"{describe_wait(case)}; {names} {verb} queue {queues} without the task of the email,"
        " and a worker discards messages for tasks that it does not have",
        next_step=mailctl_command("check-config"),
    )


def no_worker(case: Case) -> Cause | None:
    """Return the cause if no worker is alive to publish or send it."""
    evidence, queue = case.evidence, case.email.queue
    if case.email.state is not State.QUEUED and not evidence.workers and evidence.consumers:
        return Cause(
            name="no_worker",
            sentence=f"{describe_wait(case)}; no worker that shares this log is alive to publish it",
            next_step=mailctl_command("worker"),
        )
    if evidence.has_living_worker or _may_be_with_others(case):
        return None
    resume = _resume_command(case)
    if evidence.has_unresponsive_worker and case.email.state is State.QUEUED and resume is None:
        return _unresponsive_worker(case)
    consumed = f"no worker consumes queue {queue!r}: " if case.email.state is State.QUEUED else ""
    unsure = " in the log, and the broker could not be queried" if evidence.broker_error else ""
    silent = "".join(f"; {_describe_silence(each, case)}" for each in evidence.silent)
    return Cause(
        name="no_worker",
        sentence=f"{describe_wait(case)}; {consumed}no worker is alive{unsure}{silent}",
        next_step=resume or start_worker_command(None if evidence.is_usual_queue else queue),
    )


def _resume_command(case: Case) -> ShellCommand | None:
    """Return the command that continues a worker that is stopped by a signal; None if none is."""
    stopped = [each.worker.pid for each in case.evidence.silent if each.is_suspended]
    return ShellCommand(("kill", "-CONT", str(stopped[0]))) if stopped else None


def _unresponsive_worker(case: Case) -> Cause:
    """Return the cause of an email for whose queue no worker answers, although one is connected."""
    return Cause(
        name="no_worker",
        sentence=f"{describe_wait(case)}; no worker that answers consumes queue {case.email.queue!r};"
        " a worker on this broker does not answer, and may be busy with a task",
        next_step=mailctl_command("workers"),
        certainty=Certainty.POSSIBLE,
    )


def worker_stalled(case: Case) -> Cause | None:
    """Return the cause if no live worker of its queue takes anything from it."""
    evidence = case.evidence
    if not evidence.is_queue_stalled:
        return None
    return Cause(
        name="worker_stalled",
        sentence=f"{describe_wait(case)}; {'; '.join(map(str, evidence.stalled))}",
        next_step=mailctl_command("workers"),
    )


def _describe_silence(silent: SilentWorker, case: Case) -> str:
    return describe_silence(silent.worker, now=case.now, is_suspended=silent.is_suspended)


def disagreement(case: Case) -> Cause | None:
    """Return the cause that processes do not agree on keys, clocks or logs, which may be another one."""
    found = [each for each in case.evidence.disagreements if each.is_failure]
    if not found or case.email.reason_code is ReasonCode.UNREADABLE_CONTENT:  # `wrong_key` says so
        return None
    return Cause(
        name="workers_differ",
        sentence="; ".join(each.detail for each in found),
        next_step=mailctl_command("check-config"),
        certainty=Certainty.POSSIBLE,
    )


def wrong_queue(case: Case) -> Cause | None:
    """Return the cause if workers are alive, but none consumes its queue."""
    evidence, queue = case.evidence, case.email.queue
    if not evidence.has_living_worker or evidence.consumes(queue):
        return None
    if evidence.has_unresponsive_worker and case.email.state is State.QUEUED:
        return _unresponsive_worker(case)
    others = wording.join_names(
        f"{name} consumes {', '.join(queues)}" for name, queues in evidence.queues_by_worker.items()
    )
    return Cause(
        name="wrong_queue",
        sentence=f"{describe_wait(case)}; no worker consumes queue {queue!r}: {others}",
        next_step=start_worker_command(None if evidence.is_usual_queue else queue),
        # Without the broker, workers that do not share the log are unknown.
        certainty=Certainty.POSSIBLE if evidence.broker_error else Certainty.CERTAIN,
    )


def unpublishable(case: Case) -> Cause | None:
    """Return the cause if a relay could not publish it."""
    email = case.email
    if email.state is not State.PENDING or email.reason_code is not ReasonCode.PUBLISHING_FAILED:
        return None
    return Cause(
        name="unpublishable",
        sentence=f"{describe_wait(case)}; it could not be published: {(email.error or '').rstrip('.')}",
        next_step=mailctl_command("check-config"),
        certainty=Certainty.LIKELY,
    )


def sent_elsewhere(case: Case) -> Cause | None:
    """Return the cause if a worker with another log has sent it, which only its Celery result shows."""
    email, result = case.email, case.evidence.result
    if email.state is not State.QUEUED or email.is_own_task or result is None:
        return None
    state = result.value.get("state") if isinstance(result.value, dict) else None
    # Any other state may come from an earlier attempt of a worker that shared the log.
    if state not in (State.SENT, State.CAPTURED):
        return None
    return Cause(
        name="sent_elsewhere",
        sentence=f"{describe_wait(case)}; a worker with another delivery log has taken it:"
        f" its Celery result says {str(state)!r}",
        next_step=mailctl_command("workers"),
    )


def broker_lost(case: Case) -> Cause | None:
    """Return the cause if the broker has lost its message."""
    email, search = case.email, case.evidence.search
    if email.state is State.PENDING:
        event = case.last_event(State.PENDING)
        if event is None or event.reason_code not in (ReasonCode.BROKER_LOST, ReasonCode.WORKER_LOST):
            return None
        sentence = f"{event.text}; a relay will publish it again"
        return Cause(name="broker_lost", sentence=sentence, next_step=wording.follow_command(email))
    if email.queued_at is None or search is None or search.position or not search.is_complete:
        return None
    grace = timedelta(seconds=UNCLAIMED_GRACE_SECONDS)
    if case.now - email.queued_at < grace:
        return None
    if email.is_own_task or email.is_in_full:
        return None
    again = max(email.queued_at + grace, case.now) + timedelta(seconds=LOST_MESSAGE_CHECK_SECONDS)
    return Cause(
        name="broker_lost",
        sentence=f"{describe_wait(case)}; the broker has lost its message: neither queue {email.queue!r} nor"
        f" a worker has it; a relay will publish it again by {wording.format_time(again)}",
        next_step=wording.follow_command(email),
    )


def held_by_worker(case: Case) -> Cause | None:
    """Return the cause if a worker holds its message but has not claimed it yet."""
    email, search = case.email, case.evidence.search
    if search is None or search.position is None or search.position.ahead is not None:
        return None
    again = _published_again_by(case)
    recovery = f"; if that worker has died, a relay will publish it again by {again}" if again else ""
    silent = [each for each in case.evidence.silent if email.queue in each.worker.queues]
    why = "; ".join(_describe_silence(each, case) for each in silent)
    why = f"cannot start it: {why}" if silent else "is busy with others"
    return Cause(
        name="held_by_worker",
        sentence=f"{describe_wait(case)}; a worker holds its message but {why}{recovery}",
        next_step=mailctl_command("workers"),
        certainty=Certainty.LIKELY,
    )


def _published_again_by(case: Case) -> str:
    """Return the time by which a relay publishes an email again that no worker has claimed; "" if unknown."""
    email, lease = case.email, case.evidence.lease
    queued_at = email.queued_at
    if queued_at is None or lease is None or email.is_own_task or email.is_in_full:
        return ""
    check = timedelta(seconds=LOST_MESSAGE_CHECK_SECONDS)
    return wording.format_time(max(queued_at + lease, case.now) + check)


def in_line(case: Case) -> Cause | None:
    """Return the cause if other messages or emails are ahead of it."""
    email, evidence = case.email, case.evidence
    place = evidence.search.position if evidence.search else None
    if email.state is State.QUEUED and evidence.search and evidence.search.is_complete and place is None:
        return None
    if email.is_own_task and email.state is State.QUEUED and place is None:
        return None  # the log does not know which of these emails their tasks have taken
    # The messages before that of a group are groups, which say nothing of how long it takes.
    counts_messages = place is not None and not email.is_grouped
    ahead = evidence.emails_ahead
    if counts_messages and place is not None and place.ahead is not None:
        ahead = place.ahead
    if not ahead:
        return None
    noun, verb = "message" if counts_messages else "email", "is" if ahead == 1 else "are"
    position = f"{pluralize(ahead, noun)} {verb} ahead of it in queue {email.queue!r}"
    is_stopped = bool(evidence.broker_error) or not evidence.has_living_worker
    pace = "" if is_stopped else _describe_pace(ahead, evidence)
    return Cause(
        name="in_line",
        sentence=f"{describe_wait(case)}; {position}{pace}{_describe_return(case)}{describe_limits(case)}",
        next_step=mailctl_command("queue", "list"),
    )


def _describe_return(case: Case) -> str:
    """Return a clause about why a worker returned the email to the log; "" if none did."""
    last = case.events[-1] if case.events else None
    is_left = last is not None and last.state is State.PENDING and last.reason_code is ReasonCode.NOT_STARTED
    return f"; {last.text}" if last is not None and is_left else ""


def _describe_pace(ahead: int, evidence: Evidence) -> str:
    """Return a clause that says how long what is ahead of an email will take, as far as that is known."""
    per_minute = evidence.attempts_per_minute
    if not per_minute:
        return "; none was sent recently"
    if evidence.stalled_for is not None:
        return f"; none was sent in the last {format_duration(evidence.stalled_for)}"
    wait = format_duration(timedelta(minutes=ahead / per_minute))
    return f", about {wait} at {format_rate(per_minute)} a minute"


def on_its_way(case: Case) -> Cause:
    """Return the cause of an email that nothing delays."""
    email, evidence = case.email, case.evidence
    if email.state is not State.QUEUED:
        worker = evidence.workers[0].name if evidence.workers else "a worker"
        text = f"the relay of {worker} will publish it next{_describe_return(case)}"
    elif email.is_own_task:
        text = "the service's own task will send it, is sending it, or has ended: only its result will tell"
    elif (
        evidence.search is not None
        and not evidence.search.is_complete
        and (again := _published_again_by(case))
    ):
        text = (
            f"it is on its way to a worker; if it does not arrive, a relay will publish it again by {again}"
        )
    else:
        text = "a worker will take it next"
    return Cause(
        name="on_its_way",
        sentence=f"{describe_wait(case)}; {text}",
        next_step=wording.follow_command(email),
        certainty=Certainty.LIKELY,
    )


def describe_limits(case: Case) -> str:
    """Return clauses about what its mail servers allow; "" if they have refused nothing."""
    return "".join(f"; {limit.rstrip('.')}" for limit in case.evidence.learned_limits)


def describe_wait(case: Case) -> str:
    """Return how long ago it was queued, or recorded if it is not queued."""
    email = case.email
    if email.state is State.QUEUED:
        return f"queued {format_duration(case.now - (email.queued_at or email.updated_at))} ago"
    return f"recorded {format_duration(case.now - email.created_at)} ago"
