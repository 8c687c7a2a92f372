"""Runs own tasks in a worker: claims their emails, observes the SMTP replies, and records the outcome."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import states
from celery.exceptions import Ignore

from mailctl.domain.models import Deferral
from mailctl.domain.states import SENT_OR_CAPTURED, State
from mailctl.json_logging import log_extra
from mailctl.recorder.task_outcome import Ending, decide_ending, decide_retry, outcome_of_run
from mailctl.recorder.writer import log_health, log_writer
from mailctl.security.address_masking import masking_logger
from mailctl.smtp.observer import SmtpObserver, observing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailctl.domain.models import Claim, Draft
    from mailctl.domain.own_tasks import ResultTranslator
    from mailctl.runtime import Runtime

_log = masking_logger("mailctl.recorder")
#: The states of a run whose message is published again: by a retry, by a task that replaces itself, or by a
#: process that is ending.
_ENDS_OF_REPEATED_RUNS = (states.RETRY, states.IGNORED, None)


@dataclass(kw_only=True, eq=False)
class TaskRun:
    """A run that has claimed its emails, or could not because of a log that was down."""

    claims: Sequence[Claim] = ()
    #: The emails that could not be claimed; they are recorded when the log is there again.
    unclaimed: Sequence[Draft] = ()
    #: The node name of the worker.
    worker: str = ""
    #: The translator of what the task returns; None if there is none.
    translate: ResultTranslator | None = None
    observer: SmtpObserver = field(default_factory=SmtpObserver)
    #: Whether the task has asked for a retry, or replaced itself, which is recorded.
    has_retried: bool = False


@dataclass(frozen=True, kw_only=True)
class MessageDelivery:
    """The delivery of a message to a worker."""

    #: The node name of the worker.
    worker: str
    #: How often the task had asked for a retry before this message.
    retries: int
    #: Whether the broker has delivered the message before.
    is_redelivered: bool


def execute(
    run: Callable[[], Any],
    *,
    drafts: Callable[[], list[Draft]],
    delivery: MessageDelivery,
    on_claimed: Callable[[TaskRun], None],
) -> Any:
    """Run a task if the emails that it sends are still to be sent, and return what it returns.

    If the delivery log cannot be used, the task runs as if there were no recorder, and the outcome of its
    emails is recorded as soon as the log works again, if this process still runs.

    Args:
        run: calls the task.
        drafts: returns the emails of its message.
        delivery: the delivery of the message to this worker.
        on_claimed: called with the run once the emails are claimed, or cannot be.

    Raises:
        Ignore: the emails are finished, or another worker has claimed them.
        Exception: whatever the task raises.
    """
    made = _make(drafts)
    if not made:
        return run()
    claimed = _claim(made, delivery) or TaskRun(unclaimed=made, worker=delivery.worker)
    on_claimed(claimed)
    if claimed.claims:
        with log_health().tolerating():
            _leases.keep(claimed)
    with observing() as observer:
        claimed.observer = observer
        return run()


def _make(drafts: Callable[[], list[Draft]]) -> list[Draft]:
    """Return the emails of a message; none if they cannot be determined."""
    try:
        return drafts()
    except Exception as error:  # no fault of ours may stop the service
        _log.error("the emails of a task are not recorded: %s", type(error).__name__)
        return []


def _claim(made: Sequence[Draft], delivery: MessageDelivery) -> TaskRun | None:
    """Return a run with its claims; None if the delivery log cannot be used.

    Raises:
        Ignore: the emails are finished, or another worker has claimed them.
    """
    health = log_health()
    if health.is_backing_off:
        return None
    claim = None
    with health.tolerating():
        from mailctl import runtime  # imports the database driver

        claim = runtime.current().own_task_claims.claim(
            made,
            worker=delivery.worker,
            retries=delivery.retries,
            is_redelivered=delivery.is_redelivered,
        )
    if claim is None:
        return None
    if not claim.claims:
        email_id = made[0].id
        fields = log_extra(email_id, "own_task_skipped")
        _log.warning("email %s: its task is not run: %s", email_id, claim.refusal, extra=fields)
        raise Ignore(claim.refusal)
    return TaskRun(claims=claim.claims, translate=runtime.current().result_translator)


def finish(run: TaskRun, state: str | None, value: object, *, task: str) -> None:
    """Record how the emails of a run ended, before its message is acknowledged.

    If the delivery log cannot be used, it is recorded later, unless this process is killed before that.

    Args:
        run: the run.
        state: its Celery state; None if the process is ending.
        value: what the task returned, or raised.
        task: the name of the task.
    """
    _leases.release(run)
    if run.has_retried and state in _ENDS_OF_REPEATED_RUNS:
        return
    if run.unclaimed:
        log_writer().put(partial(_record_late, run, state, value, task=task))
        return
    endings = _endings(run, state, value, task=task)
    _write(partial(_correct_all if run.has_retried else _record_all, endings))


def _endings(run: TaskRun, state: str | None, value: object, *, task: str) -> list[tuple[Claim, Ending]]:
    """Return the states of the claimed emails of a run that has ended; see `finish`."""
    results, suppressed = run.observer.results, run.observer.suppressed
    reported = outcome_of_run(state, value, task=task, translate=run.translate)
    if reported is not None and reported.translator_problem:
        _log.error("task %s: %s", task, reported.translator_problem)
    return [
        (claim, decide_ending(claim.content.user.email, results, suppressed, reported))
        for claim in run.claims
    ]


def retry(run: TaskRun, *, until: datetime | None) -> None:
    """Record that the message of a run is about to be published again, so that it may be claimed again.

    Args:
        run: the present run.
        until: the ETA of the message; None for at once.
    """
    if run.unclaimed:
        run.has_retried = True
        return  # the next run claims the emails, or records them
    results, error = run.observer.results, sys.exc_info()[1]
    endings = [(claim, decide_retry(claim.content.user.email, results, error)) for claim in run.claims]
    _write(partial(_record_all, endings, until=until))
    run.has_retried = True


def _write(entry: Callable[[Runtime], object]) -> None:
    """Write to the delivery log now, or in the background if that fails."""
    health = log_health()
    is_done = False
    if not health.is_backing_off:
        with health.tolerating():
            from mailctl import runtime

            entry(runtime.current())
            is_done = True
    if not is_done:
        log_writer().put(entry)


def _record_all(
    endings: Sequence[tuple[Claim, Ending]], runtime: Runtime, *, until: datetime | None = None
) -> None:
    for claim, ending in endings:
        if ending.state is State.DEFERRED:
            _defer(claim, ending, until, runtime)
        else:
            _end(claim, ending, runtime)
        if ending.address:
            runtime.own_task_claims.record_address(claim.id, ending.address)


def _record_late(run: TaskRun, state: str | None, value: object, runtime: Runtime, *, task: str) -> None:
    """Record what became of the emails of a run that ended while the delivery log was down."""
    run.claims = runtime.own_task_claims.claim_late(run.unclaimed, worker=run.worker)
    run.translate = runtime.result_translator
    _record_all(_endings(run, state, value, task=task), runtime)


def _correct_all(endings: Sequence[tuple[Claim, Ending]], runtime: Runtime) -> None:
    """Record emails that are known to be sent or failed after their task had asked for a retry."""
    for claim, ending in endings:
        is_final = ending.state in SENT_OR_CAPTURED or ending.state is State.FAILED
        if is_final and runtime.own_task_claims.reclaim(claim):
            _end(claim, ending, runtime)


def _defer(claim: Claim, ending: Ending, until: datetime | None, runtime: Runtime) -> None:
    assert ending.outcome is not None
    deferral = Deferral(
        claim=claim,
        until=until or datetime.now(UTC),
        outcome=ending.outcome,
        message_id=ending.message_id,
    )
    if runtime.attempt_results.defer(deferral) and runtime.own_task_claims.reclaim(claim):
        runtime.attempt_results.defer(deferral)


def _end(claim: Claim, ending: Ending, runtime: Runtime) -> None:
    finish = partial(
        runtime.attempt_results.finish,
        claim,
        ending.state,
        outcome=ending.outcome,
        reason=ending.reason,
        message_id=ending.message_id,
    )
    # The lease may have run out while the delivery log was down.
    if not finish() and runtime.own_task_claims.reclaim(claim):
        finish()


class _Leases:
    """Extends the leases of the runs of this process."""

    def __init__(self) -> None:
        self._runs: dict[TaskRun, None] = {}

    def keep(self, run: TaskRun) -> None:
        """Extend the leases of a run from now on."""
        from mailctl import runtime

        self._runs[run] = None
        seconds = runtime.current().settings.mailctl_lease_seconds / 3
        log_writer().repeat(self.extend, every_seconds=seconds)

    def release(self, run: TaskRun) -> None:
        """Stop extending the leases of a run."""
        self._runs.pop(run, None)

    def extend(self, runtime: Runtime) -> None:
        """Extend all leases."""
        claims = [claim for run in list(self._runs) for claim in run.claims]
        if claims:
            runtime.claims.extend(claims)


_leases = _Leases()
