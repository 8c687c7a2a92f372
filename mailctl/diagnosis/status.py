"""The status of an email, merged from the delivery log, the Celery result, the broker and the workers."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.delivery_log.opening import open_log
from mailctl.delivery_log.own_task_emails import OwnTaskEmails
from mailctl.diagnosis.evidence import EvidenceCollector
from mailctl.diagnosis.exit_codes import exit_code_of, has_ended_unsent
from mailctl.diagnosis.models import Diagnosis
from mailctl.diagnosis.rules import diagnose
from mailctl.diagnosis.unknown_id import diagnose_unknown, search_command, wider_search_command
from mailctl.domain.celery_states import CELERY_STATES
from mailctl.domain.models import CeleryResult, Email, Event
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.states import State
from mailctl.errors import (
    EmailFailed,
    EmailUnconfirmed,
    ExitCode,
    InvalidInput,
    LogUnavailable,
    MailctlError,
    NotFound,
    StillPending,
)
from mailctl.recorder.task_results import OwnTaskResults

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailctl.delivery_log.reports import LoggedReport
    from mailctl.diagnosis.models import UnknownId
    from mailctl.runtime import Runtime

#: The first and the longest interval between two reads of the log while following an email.
INITIAL_POLL_SECONDS = 0.05
MAX_POLL_SECONDS = 0.5
#: The interval between two reads of the Celery result of an email that a task of the service sends.
_CELERY_POLL_SECONDS = 1.0
_MAX_SHOWN_MATCHES = 5


@dataclass(frozen=True, kw_only=True)
class EmailStatus:
    """The status of one email."""

    task_id: str
    #: None for a task that only Celery knows.
    email: Email | None
    state: State | None
    events: tuple[Event, ...]
    #: The other emails that the same call recorded.
    group: tuple[Email, ...]
    #: The Celery result; None if there is none or the backend could not be queried.
    celery: CeleryResult | None
    explanation: str
    #: What was reported after a mail server had accepted it, oldest first.
    reports: tuple[LoggedReport, ...] = ()

    @property
    def has_failed(self) -> bool:
        """Whether the email is known to be finished without having been sent."""
        return has_ended_unsent(self.email, self.celery)

    @property
    def is_unconfirmed(self) -> bool:
        """Whether a task of the service has finished with it, and nobody knows whether it was sent."""
        return self.exit_code is ExitCode.UNCONFIRMED

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that reports this."""
        return exit_code_of(self.state, has_failed=self.has_failed)


class StatusService:
    """Finds emails, and reports their status and diagnosis.

    Args:
        runtime: the components of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._history = runtime.history
        self._collector = EvidenceCollector(runtime)

    def find_email(self, given: str, *, takes_newest: bool = False) -> Email | None:
        """Return the email that a text refers to; None if the log has none.

        Args:
            given: an id or a unique prefix of one, an idempotency key, a Message-ID, the id under which the
                mail server has queued it, or the address of its recipient.
            takes_newest: whether to return the newest of several emails to an address; otherwise an address
                refers to an email only if it has no other.

        Raises:
            InvalidInput: `given` is empty, or several emails fit.
        """
        if not given.strip():
            raise InvalidInput("task id", "is empty.")
        if found := self._history.find(given):
            return self._only(given, found, what="ids", fix="Give more characters of the id.")
        if email_id := self._collector.email_id_of_key(given.strip()):
            return self._history.find(email_id, limit=1)[0]
        found = self._history.find_by_reference(given)
        is_address = "@" in given and bool(found) and found[0].to.lower() == given.strip().lower()
        if takes_newest and is_address:
            return found[0]
        fix = f"Give one of the ids; list the emails with: {search_command(given)}"
        return self._only(given, found, what="emails", fix=fix)

    def _only(self, given: str, found: Sequence[Email], *, what: str, fix: str) -> Email | None:
        """Return the only email that was found, or None.

        Raises:
            InvalidInput: several were found.
        """
        if len(found) > 1:
            ids = [email.id for email in found[:_MAX_SHOWN_MATCHES]]
            shown = ", ".join(self._history.short_ids(ids).values())
            more = " and more" if len(found) > len(ids) else ""
            raise InvalidInput("task id", f"{given} matches several {what}: {shown}{more}.", fix=fix)
        return found[0] if found else None

    def count_others(self, given: str) -> int:
        """Return how many more emails an address has than the newest one; 0 for anything but an address."""
        if "@" not in given or self._history.find(given) or not (count := self._history.count_to(given)):
            return 0
        return count - 1

    def status(self, prefix: str) -> EmailStatus:
        """Return the status of the email that `prefix` refers to, as in `find_email`.

        Of an address it is the newest email.

        Raises:
            NotFound: neither the delivery log nor Celery knows the id.
            InvalidInput: several emails fit.
            LogUnavailable: the delivery log cannot be read.
        """
        email = self.find_email(prefix, takes_newest=True)
        if email is None:
            return self._status_from_celery(prefix.strip())
        is_known_from_log = email.is_final or self._collector.is_broker_private
        celery = _celery_result_by_log(email) if is_known_from_log else self._celery_result(email.id)
        email = self._record_celery_result(email, celery)
        events = tuple(self._history.events(email.id))
        case = self._collector.collect(email, events)
        return EmailStatus(
            task_id=email.id,
            email=email,
            state=email.state,
            events=events,
            group=tuple(other for other in self._history.find_group(email) if other.id != email.id),
            celery=celery,
            explanation=diagnose(case)[0].sentence,
            reports=case.evidence.reports,
        )

    def short_ids(self, status: EmailStatus) -> dict[str, str]:
        """Return the short ids of an email and of the others of its group, by id."""
        return self._history.short_ids([status.task_id, *(other.id for other in status.group)])

    def statuses(self, ids: Sequence[str]) -> Iterator[tuple[str, EmailStatus | MailctlError]]:
        """Yield the status of each of several emails, or the error for unknown and ambiguous ids.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        for given in ids:
            try:
                yield given, self.status(given)
            except (NotFound, InvalidInput) as error:
                yield given, error

    def follow(
        self, email_id: str, *, timeout: float | None, stops_when_held: bool = False
    ) -> Iterator[Email]:
        """Yield the email now and after each change, until it is finished or the time is up.

        Args:
            email_id: the full id.
            timeout: how long to wait, in seconds; None waits without a limit.
            stops_when_held: whether to stop, too, when the email waits for an operator.
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
            is_over = deadline is not None and time.monotonic() >= deadline
            if email.is_final or is_over or (stops_when_held and email.state is State.HELD):
                return
            time.sleep(wait)
            wait = min(MAX_POLL_SECONDS, wait * 1.5)

    def why(self, prefix: str) -> Diagnosis:
        """Return why the email that `prefix` refers to, as in `find_email`, is in its state.

        Of an address it is the newest email; an unknown id has a diagnosis, too.

        Raises:
            InvalidInput: several emails fit.
            LogUnavailable: the delivery log cannot be read.
        """
        collector = self._collector
        email = self.find_email(prefix, takes_newest=True)
        prefix = prefix.strip()
        if email is None:
            unknown = collector.collect_unknown(prefix, look_around=True)
            place = unknown.search.position if unknown.search else None
            return Diagnosis(
                task_id=prefix,
                state=State.QUEUED if place else None,
                causes=diagnose_unknown(unknown),
                log=collector.log,
                unknown=unknown,
            )
        email = self._record_celery_result(email, self._result_of_own_task(email))
        case = collector.collect(email, tuple(self._history.events(email.id)), is_thorough=True)
        return Diagnosis(
            task_id=email.id, state=email.state, causes=diagnose(case), log=collector.log, case=case
        )

    def _status_from_celery(self, task_id: str) -> EmailStatus:
        """Return the status of a task that the delivery log does not have."""
        unknown = self._collector.collect_unknown(task_id)
        place = unknown.search.position if unknown.search else None
        if unknown.result is None and place is None:
            raise self._unknown_id_error(unknown)
        return EmailStatus(
            task_id=task_id,
            email=None,
            state=None if place is None else State.QUEUED,
            events=(),
            group=(),
            celery=unknown.result,
            explanation=diagnose_unknown(unknown)[0].sentence,
        )

    def _unknown_id_error(self, unknown: UnknownId) -> NotFound:
        log, given = self._collector.log, unknown.task_id
        missing = f"there is no delivery log at {log}"
        absent = missing if unknown.is_log_missing else f"the delivery log at {log} does not have it"
        broker_error = f" {unknown.broker_error}" if unknown.broker_error else ""
        if unknown.unrecorded_tasks:
            broker_error += " The service's own code may have sent it: nothing records what its tasks send."
        fix = f"Check the id; for possible reasons, run: {mailctl_command('why', arguments=[given])}"
        if "@" in given:
            fix = f"Check it, and look for a similar one: {wider_search_command(given)}"
        noun = "address or Message-ID" if "@" in given else "id"
        return NotFound(
            f"No email has the {noun} {given}: {absent}, and Celery has no result.{broker_error}", fix=fix
        )

    def _record_celery_result(self, email: Email, celery: CeleryResult | None) -> Email:
        """Record the result of a task that does not write to this log; return the email.

        The log is opened for writing only for this change, and only if this process may write to it.
        """
        if celery is None or not _awaits_result(email):
            return email
        results = OwnTaskResults(self._runtime, broker=self._collector.broker)
        with suppress(LogUnavailable), open_log(self._runtime.settings) as engine:
            results.record(email, celery, log=OwnTaskEmails(engine))
        return self._history.find(email.id, limit=1)[0]

    def _result_of_own_task(self, email: Email) -> CeleryResult | None:
        is_readable = _awaits_result(email) and not self._collector.is_broker_private
        return self._celery_result(email.id) if is_readable else None

    def _celery_result(self, email_id: str) -> CeleryResult | None:
        try:
            return self._collector.broker.task_result(email_id)
        except MailctlError:
            return None  # the log has the status; the Celery result only adds to it


def _awaits_result(email: Email) -> bool:
    """Whether the outcome of an email may only be known from the result of a task without this log."""
    is_held = email.state is State.HELD and email.reason_code is ReasonCode.OWN_TASK_UNKNOWN
    return (email.is_own_task or email.is_in_full) and (email.state is State.QUEUED or is_held)


def _celery_result_by_log(email: Email) -> CeleryResult | None:
    """Return the Celery result that a worker has stored for an email, derived from the log.

    Emails of campaigns, and emails that no worker ever claimed, have no result.
    """
    state = CELERY_STATES.get(email.state)
    if state is None or email.campaign or not email.worker:
        return None
    return CeleryResult(state=state, text=email.error or "")


def raise_for_unsent(statuses: Sequence[EmailStatus]) -> None:
    """Raise for the first of these emails that was not sent or captured.

    Raises:
        EmailFailed: an email is finished without having been sent.
        StillPending: an email is not finished.
        EmailUnconfirmed: nobody knows whether an email was sent.
    """
    for status in statuses:
        if status.has_failed:
            raise EmailFailed(f"Email {status.task_id} {status.state}: {status.explanation}.")
    for status in statuses:
        if status.email is not None and not status.email.is_final:
            raise StillPending(
                f"Email {status.task_id} is {status.state}: {status.explanation}.",
                fix=f"Check again: {mailctl_command('status', arguments=[status.task_id])}",
            )
    for status in statuses:
        if status.is_unconfirmed:
            raise EmailUnconfirmed(f"Email {status.task_id} is unconfirmed: {status.explanation}.")
