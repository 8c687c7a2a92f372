"""Watches the emails of own tasks: ends them by the results of the tasks, or holds them for an operator.

An own task may send an email whenever its message is delivered, so no email is published again without an
operator: a message that is gone may have been processed, and its result ignored, expired or unreadable.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.celery_app import is_built_in_app, overridden_tasks, unreadable_results_reason
from mailctl.domain.own_tasks import OWN_TASK
from mailctl.recorder.missing_messages import MissingMessages, Rounds
from mailctl.recorder.task_results import OwnTaskResults
from mailctl.security.address_masking import masking_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celery import Celery

    from mailctl.broker.inspector import BrokerInspector
    from mailctl.delivery_log.own_task_emails import OwnTaskEmails
    from mailctl.domain.models import Email
    from mailctl.runtime import Runtime

_log = masking_logger("mailctl.recorder")

#: The maximum number of emails in one check.
_LIMIT = 200
#: How long after an email was held a late result is still recorded.
_LATE_RESULT = timedelta(hours=1)
#: Celery states of tasks that have begun and not finished.
_RUNNING_STATES = frozenset({"RECEIVED", "STARTED", "RETRY", "PROGRESS"})


class OwnTaskWatch:
    """Ends emails of own tasks by their results, and holds those whose messages are gone without one.

    Args:
        runtime: the components of this process.
        app: the app of the service, with its broker and its result backend.
        broker: queries the broker and the result backend of that app.
        log: the emails in the delivery log; None for those of the runtime.
        worker_id: the id of the worker of mailctl in which this runs, whose memory broker only it can read;
            "" outside of one.
        is_busy: whether that worker is executing tasks.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        app: Celery,
        broker: BrokerInspector,
        log: OwnTaskEmails | None = None,
        worker_id: str = "",
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._runtime = runtime
        self._app = app
        self._log = log or runtime.own_task_emails
        self._broker = broker
        self._worker_id = worker_id
        self._is_busy = is_busy
        self._results = OwnTaskResults(runtime, broker=broker)
        self._messages = MissingMessages(runtime, app=app, broker=broker)
        self._rounds = Rounds(_LIMIT)
        self._has_marked = False

    def check(self) -> None:
        """Record the outcomes in results, and hold emails whose message is gone and has no result.

        Raises:
            BrokerUnavailable: the broker or the result backend does not answer.
            LogUnavailable: the delivery log does not answer.
        """
        self._mark_as_own()
        in_memory = self._broker.is_in_memory
        emails = self._log.published(
            limit=_LIMIT, offset=self._rounds.offset, worker_id=self._worker_id if in_memory else None
        )
        unfinished = [email for email in emails if not self.has_result(email)]
        missing = self._missing_in_memory(unfinished) if in_memory else self._messages.find(unfinished)
        gone = self._rounds.missing_again(emails, missing)
        self._hold(gone if in_memory else self._messages.without_those_in_hand(gone))
        late = self._messages.late([email for email in unfinished if email not in missing])
        self._log.expire([email.id for email in late], sender=OWN_TASK)
        for email in self._log.held_as_unknown(since=self._runtime.clock() - _LATE_RESULT, limit=_LIMIT):
            self._results.record(email, self._results.read(email.id), log=self._log)

    def hold_missing(self, unfinished: Sequence[Email]) -> None:
        """Hold those of some emails whose messages have been missing for long; check broker and workers once.

        Args:
            unfinished: published emails without a result.

        Raises:
            BrokerUnavailable: the broker does not answer.
            LogUnavailable: the delivery log does not answer.
        """
        missing = self._messages.find(unfinished)
        # The workers are asked after the broker, so that a message that moves meanwhile is found with one.
        self._hold(self._messages.without_those_in_hand(missing))

    def _hold(self, emails: Sequence[Email]) -> None:
        # The app of the service may have another broker than that of mailctl itself, and the messages there.
        if is_built_in_app(self._app):
            return
        if emails and self._log.hold_unknown([email.id for email in emails], why=self._why_unknown()):
            _log.warning(
                "holding %d emails: it is unknown whether the service's own tasks sent them", len(emails)
            )

    def _mark_as_own(self) -> None:
        """Mark, once, the emails that an earlier version or another process published for such tasks."""
        if self._has_marked:
            return
        own = overridden_tasks(self._app)
        kinds = [kind.name for kind in self._runtime.catalog.kinds.values() if kind.full_task in own]
        if kinds:
            self._log.mark_as_own(kinds)
        self._has_marked = True

    def has_result(self, email: Email) -> bool:
        """Record the outcome in the result of a task; return whether there is one, or the task is running.

        Raises:
            BrokerUnavailable: the result backend does not answer.
            LogUnavailable: the delivery log cannot be written.
        """
        result = self._results.read(email.id)
        if self._results.record(email, result, log=self._log):
            return True
        since = email.queued_at or email.updated_at
        is_running = result is not None and result.state in _RUNNING_STATES
        return is_running and self._runtime.clock() - since < timedelta(
            seconds=self._messages.longest_run_seconds
        )

    def _missing_in_memory(self, emails: Sequence[Email]) -> list[Email]:
        """Return the emails whose message this worker does not have any more."""
        if not emails or self._is_busy():
            return []
        queues = {email.queue for email in emails}
        return [] if any(self._broker.ready_counts(queues).values()) else list(emails)

    def _why_unknown(self) -> str:
        reason = unreadable_results_reason(self._app)
        return reason or "its message is no longer on the broker, and no result tells what became of it"
