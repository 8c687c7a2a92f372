"""What became of an email: the delivery log, the Celery result, the broker and the workers in one answer."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.delivery_log.recovery import Recovery
from mailctl.diagnosis import Diagnosis, diagnose, diagnose_unknown
from mailctl.diagnosis.evidence import EvidenceCollector
from mailctl.domain.models import CeleryResult, Email, Event, State
from mailctl.errors import EmailFailed, InvalidInput, LogUnavailable, MailctlError, NotFound, StillPending
from mailctl.runtime import open_log
from mailctl.shell_command import mailctl_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailctl.runtime import Runtime

#: Seconds between looks at the log while waiting for an email: the first, and the longest.
INITIAL_POLL_SECONDS = 0.05
MAX_POLL_SECONDS = 0.5
#: Seconds between questions to Celery about an email that a task of the service's own sends.
_CELERY_POLL_SECONDS = 1.0
_MAX_SHOWN_MATCHES = 5
#: What our tasks store as the Celery state of an email.
_CELERY_STATES = {
    State.SENT: "SUCCESS",
    State.CAPTURED: "SUCCESS",
    State.DEFERRED: "RETRY",
    State.HELD: "RETRY",
    State.FAILED: "FAILURE",
    State.EXPIRED: "FAILURE",
    State.SUPPRESSED: "FAILURE",
}


@dataclass(frozen=True, kw_only=True)
class EmailStatus:
    """Everything that is known of one email."""

    task_id: str
    #: None for a task that only Celery knows.
    email: Email | None
    state: State | None
    events: tuple[Event, ...]
    #: The other emails of the same call.
    group: tuple[Email, ...]
    #: What the result backend says; None if it has nothing or could not be asked.
    celery: CeleryResult | None
    explanation: str

    @property
    def has_failed(self) -> bool:
        """Whether it is known that the email will not be delivered."""
        if self.email is not None:
            return self.email.is_final and not self.email.is_delivered
        return self.celery is not None and self.celery.state == "FAILURE"


class StatusService:
    """Answers questions about single emails.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._history = runtime.history
        self._collector = EvidenceCollector(runtime)

    def find_email(self, prefix: str) -> Email | None:
        """Return the email whose id is or starts with `prefix`; None if the log has none.

        Raises:
            InvalidInput: several ids start with it.
        """
        if not prefix.strip():
            raise InvalidInput("task id", "is empty.")
        found = self._history.find(prefix)
        if len(found) > 1:
            ids = [email.id for email in found[:_MAX_SHOWN_MATCHES]]
            shown = ", ".join(self._history.short_ids(ids).values())
            more = " and others" if len(found) > len(ids) else ""
            reason = f"{prefix} is the start of several ids: {shown}{more}."
            raise InvalidInput("task id", reason, fix="Give more of it.")
        return found[0] if found else None

    def status(self, prefix: str) -> EmailStatus:
        """Return what became of the email whose id is or starts with `prefix`.

        Raises:
            NotFound: neither the log nor Celery knows it.
            InvalidInput: several ids start with it.
            LogUnavailable: the delivery log cannot be read.
        """
        email = self.find_email(prefix)
        if email is None:
            return self._status_from_celery(prefix.strip())
        is_told_by_log = email.is_final or self._collector.is_broker_private
        celery = _celery_result_by_log(email) if is_told_by_log else self._celery_result(email.id)
        email = self._record_celery_result(email, celery)
        events = tuple(self._history.events(email.id))
        return EmailStatus(
            task_id=email.id,
            email=email,
            state=email.state,
            events=events,
            group=tuple(other for other in self._history.find_group(email) if other.id != email.id),
            celery=celery,
            explanation=diagnose(self._collector.collect(email, events))[0].sentence,
        )

    def short_ids(self, status: EmailStatus) -> dict[str, str]:
        """Return the short ids of an email and of the others of its call."""
        return self._history.short_ids([status.task_id, *(other.id for other in status.group)])

    def statuses(self, ids: Sequence[str]) -> Iterator[tuple[str, EmailStatus | MailctlError]]:
        """Yield what became of each of several emails; one that is not known, or not only one, stops none.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        for given in ids:
            try:
                yield given, self.status(given)
            except (NotFound, InvalidInput) as error:
                yield given, error

    def follow(self, email_id: str, *, timeout: float | None) -> Iterator[Email]:
        """Yield the email now, after each change, and for the last time when it is finished or time is up.

        Args:
            timeout: seconds to wait; None waits for ever.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        wait, ask_at, shown = INITIAL_POLL_SECONDS, time.monotonic() + _CELERY_POLL_SECONDS, None
        while True:
            email = self._history.find(email_id, limit=1)[0]
            if time.monotonic() >= ask_at:
                email = self._record_celery_result(email, self._result_of_own_task(email))
                ask_at = time.monotonic() + _CELERY_POLL_SECONDS
            if (email.state, email.attempts) != shown:
                shown, wait = (email.state, email.attempts), INITIAL_POLL_SECONDS
                yield email
            if email.is_final or (deadline is not None and time.monotonic() >= deadline):
                return
            time.sleep(wait)
            wait = min(MAX_POLL_SECONDS, wait * 1.5)

    def why(self, prefix: str) -> Diagnosis:
        """Return why the email whose id is or starts with `prefix` is where it is.

        An idempotency key stands for its email; an id that nobody knows has a diagnosis, too.

        Raises:
            InvalidInput: several ids start with it.
            LogUnavailable: the delivery log cannot be read.
        """
        witnesses = self._collector
        email = self.find_email(prefix)
        prefix = prefix.strip()
        if email is None and (known := witnesses.email_id_of_key(prefix)):
            email = self.find_email(known)
        if email is None:
            unknown = witnesses.collect_unknown(prefix, look_around=True)
            place = unknown.search.position if unknown.search else None
            return Diagnosis(
                task_id=prefix,
                state=State.QUEUED if place else None,
                causes=diagnose_unknown(unknown),
                log=witnesses.log,
                unknown=unknown,
            )
        email = self._record_celery_result(email, self._result_of_own_task(email))
        case = witnesses.collect(email, tuple(self._history.events(email.id)), is_thorough=True)
        return Diagnosis(
            task_id=email.id, state=email.state, causes=diagnose(case), log=witnesses.log, case=case
        )

    def _status_from_celery(self, task_id: str) -> EmailStatus:
        """Answer for a task that the delivery log does not know."""
        unknown = self._collector.collect_unknown(task_id)
        place = unknown.search.position if unknown.search else None
        if unknown.result is None and place is None:
            trouble = f" {unknown.broker_error}" if unknown.broker_error else ""
            log = self._collector.log
            known = (
                f"there is no delivery log at {log}"
                if unknown.is_log_missing
                else (f"the delivery log at {log} has no such email")
            )
            raise NotFound(
                f"Nobody knows {task_id}: {known}, Celery has no result.{trouble}",
                fix=f"Check the id, and where it was recorded: {mailctl_command('why', arguments=[task_id])}",
            )
        return EmailStatus(
            task_id=task_id,
            email=None,
            state=None if place is None else State.QUEUED,
            events=(),
            group=(),
            celery=unknown.result,
            explanation=diagnose_unknown(unknown)[0].sentence,
        )

    def _record_celery_result(self, email: Email, celery: CeleryResult | None) -> Email:
        """Record what a task of the service's own reports; it does not write to the log itself.

        Whoever asks only reads: the log is opened for this one change, if it may be changed from here.
        """
        if email.state is not State.QUEUED or celery is None or not self._is_own_task(email):
            return email
        with suppress(LogUnavailable), open_log(self._runtime.settings) as engine:
            Recovery(engine).apply_celery_result(email.id, celery_state=celery.state, text=celery.text)
        return self._history.find(email.id, limit=1)[0]

    def _result_of_own_task(self, email: Email) -> CeleryResult | None:
        return (
            self._celery_result(email.id)
            if not self._collector.is_broker_private and self._is_own_task(email)
            else None
        )

    def _is_own_task(self, email: Email) -> bool:
        from mailctl.celery_app import overridden_tasks

        kind = self._runtime.catalog.find(email.kind)
        return kind is not None and kind.full_task in overridden_tasks(self._runtime.app)

    def _celery_result(self, email_id: str) -> CeleryResult | None:
        try:
            return self._collector.broker.task_result(email_id)
        except MailctlError:
            return None  # the log has the answer; what Celery would add is unknown


def _celery_result_by_log(email: Email) -> CeleryResult | None:
    """Return what the worker has stored for an email, as the log knows it.

    A campaign's emails have no results of their own, nor has what no worker ever took.
    """
    state = _CELERY_STATES.get(email.state)
    if state is None or email.campaign or not email.worker:
        return None
    return CeleryResult(state=state, text=email.error or "")


def raise_for_undelivered(statuses: Sequence[EmailStatus]) -> None:
    """Raise for the first of these emails that was not delivered.

    Raises:
        EmailFailed: it will not be.
        StillPending: it is not finished.
    """
    for status in statuses:
        if status.has_failed:
            raise EmailFailed(f"Email {status.task_id} {status.state}: {status.explanation}.")
    for status in statuses:
        if status.email is not None and not status.email.is_delivered:
            raise StillPending(
                f"Email {status.task_id} is {status.state}: {status.explanation}.",
                fix=f"Ask again: {mailctl_command('status', arguments=[status.task_id])}",
            )
