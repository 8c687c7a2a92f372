"""What became of an email: the delivery log, the Celery result, the broker and the workers in one answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from mailctl.errors import (
    BrokerUnavailable,
    EmailFailed,
    InvalidInput,
    MailctlError,
    NotFound,
    StillPending,
)
from mailctl.explanation import Evidence, explain
from mailctl.message import CeleryResult, Email, Event, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailctl.broker import Broker, Place
    from mailctl.runtime import Runtime

#: Seconds between looks at the log while waiting for an email: the first, and the longest.
FIRST_LOOK_SECONDS = 0.05
LONGEST_LOOK_SECONDS = 0.5
#: Seconds between questions to Celery about an email that a task of the service's own sends.
_ASK_CELERY_SECONDS = 1.0
_SHOWN_MATCHES = 5
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
class Status:
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


class Inquiry:
    """Answers questions about single emails.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._history = runtime.history

    def email(self, prefix: str) -> Email | None:
        """Return the email whose id is or starts with `prefix`; None if the log has none.

        Raises:
            InvalidInput: several ids start with it.
        """
        if not prefix:
            raise InvalidInput("task id", "is empty.")
        found = self._history.find(prefix)
        if len(found) > 1:
            shown = ", ".join(email.id for email in found[:_SHOWN_MATCHES])
            raise InvalidInput(
                "task id", f"{prefix} is the start of several: {shown}.", fix="Give more of it."
            )
        return found[0] if found else None

    def status(self, prefix: str) -> Status:
        """Return what became of the email whose id is or starts with `prefix`.

        Raises:
            NotFound: neither the log nor Celery knows it.
            InvalidInput: several ids start with it.
            LogUnavailable: the delivery log cannot be read.
        """
        email = self.email(prefix)
        if email is None:
            return self._of_celery(prefix)
        is_told_by_log = email.is_final or self._is_private
        celery = _stored_by_worker(email) if is_told_by_log else self._result(email.id)
        email = self._settled(email, celery)
        evidence = Evidence() if email.is_final else self._evidence(email)
        return Status(
            task_id=email.id,
            email=email,
            state=email.state,
            events=tuple(self._history.events(email.id)),
            group=tuple(other for other in self._history.group(email) if other.id != email.id),
            celery=celery,
            explanation=explain(email, evidence, now=datetime.now(UTC)),
        )

    def follow(self, email_id: str, *, timeout: float | None) -> Iterator[Email]:
        """Yield the email now, after each change, and for the last time when it is finished or time is up.

        Args:
            timeout: seconds to wait; None waits for ever.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        wait, ask_at, shown = FIRST_LOOK_SECONDS, time.monotonic() + _ASK_CELERY_SECONDS, None
        while True:
            email = self._history.find(email_id, limit=1)[0]
            if time.monotonic() >= ask_at:
                email = self._settled(email, self._result_of_own_task(email))
                ask_at = time.monotonic() + _ASK_CELERY_SECONDS
            if (email.state, email.attempts) != shown:
                shown, wait = (email.state, email.attempts), FIRST_LOOK_SECONDS
                yield email
            if email.is_final or (deadline is not None and time.monotonic() >= deadline):
                return
            time.sleep(wait)
            wait = min(LONGEST_LOOK_SECONDS, wait * 1.5)

    def _of_celery(self, task_id: str) -> Status:
        """Answer for a task that the delivery log does not know."""
        result, place, trouble = None, None, ""
        if not self._is_private:
            try:
                result = self._broker.result(task_id)
                place = self._broker.find(task_id, queue=self._runtime.settings.celery_queue_default)
            except BrokerUnavailable as error:
                trouble = f" {error}"
        if result is None and place is None:
            raise NotFound(
                f"Nobody knows {task_id}: the delivery log has no such email, Celery no result.{trouble}",
                fix="Check the id, and that MAILCTL_HOME or MAILCTL_DATABASE_URL names the same log.",
            )
        return Status(
            task_id=task_id,
            email=None,
            state=None if place is None else State.QUEUED,
            events=(),
            group=(),
            celery=result,
            explanation=_explain_celery(result, place),
        )

    def _evidence(self, email: Email) -> Evidence:
        workers = tuple(self._runtime.workers.alive())
        if self._is_private:
            return Evidence(workers=workers, is_in_memory=True)
        if email.state not in (State.PENDING, State.QUEUED):
            return Evidence(workers=workers)
        try:
            is_served = any(email.queue in worker.queues for worker in workers)
            return Evidence(
                workers=workers,
                place=self._broker.find(email.id, queue=email.queue),
                # Asking all workers takes a second: only where ours are not the answer.
                consumers=None if is_served else self._broker.consumers(),
                is_in_memory=self._broker.is_in_memory,
            )
        except BrokerUnavailable as error:
            return Evidence(workers=workers, broker_trouble=error.message)

    def _settled(self, email: Email, celery: CeleryResult | None) -> Email:
        """Record what a task of the service's own reports; it does not write to the log itself."""
        if email.state is not State.QUEUED or celery is None or not self._is_own_task(email):
            return email
        self._runtime.recovery.settle(email.id, celery_state=celery.state, text=celery.text)
        return self._history.find(email.id, limit=1)[0]

    def _result_of_own_task(self, email: Email) -> CeleryResult | None:
        return self._result(email.id) if not self._is_private and self._is_own_task(email) else None

    def _is_own_task(self, email: Email) -> bool:
        from mailctl.celery_app import own_tasks

        kind = self._runtime.catalog.find(email.kind)
        return kind is not None and kind.full_task in own_tasks(self._runtime.app)

    def _result(self, email_id: str) -> CeleryResult | None:
        try:
            return self._broker.result(email_id)
        except MailctlError:
            return None  # the log has the answer; what Celery would add is unknown

    @property
    def _is_private(self) -> bool:
        """Whether broker and results are out of this process's sight; then Celery need not be imported."""
        settings = self._runtime.settings
        return settings.uses_memory_broker and not settings.mailctl_app

    @cached_property
    def _broker(self) -> Broker:
        from mailctl.broker import Broker

        return Broker(self._runtime.app)


def _stored_by_worker(email: Email) -> CeleryResult | None:
    """Return what the worker has stored for an email, as the log knows it.

    A campaign's emails have no results of their own, nor has what no worker ever took.
    """
    state = _CELERY_STATES.get(email.state)
    if state is None or email.campaign or not email.worker:
        return None
    return CeleryResult(state=state, text=email.error or "")


def _explain_celery(result: CeleryResult | None, place: Place | None) -> str:
    origin = "published by another program; the delivery log does not know it"
    if result is not None:
        return f"{origin}; Celery says {result.state}" + (f": {result.text}" if result.text else "")
    if place is None or place.ahead is None:
        return f"{origin}; a worker has its message"
    return f"{origin}; {place.ahead} messages before it in queue {place.queue!r}"


def raise_for(statuses: Sequence[Status]) -> None:
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
                fix=f"Ask again with `mailctl status {status.task_id}`.",
            )
