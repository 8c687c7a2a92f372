"""The one place that knows the order: claim, compose, send, record."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from mailctl import tracing, unicode_safety
from mailctl.broker.task_arguments import from_arguments
from mailctl.domain import validation
from mailctl.domain.catalog import effective_kind
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import Claim, Content, Envelope, Outcome, State, User
from mailctl.domain.request import EmailRequest
from mailctl.errors import ConfigurationError, InvalidInput, LogUnavailable, MailctlError, RenderError
from mailctl.json_logging import log_extra
from mailctl.redaction import mask_addresses_in_text
from mailctl.worker.circuit_breaker import CircuitBreaker
from mailctl.worker.outcomes import DELIVERED_STATE_BY_KIND, AttemptResult, DeliveryResult, OutcomeRecorder

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from concurrent.futures import Future
    from typing import Any

    from mailctl.delivery_log.claims import ClaimResult
    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Json
    from mailctl.runtime import Runtime
    from mailctl.smtp.sender import Sender

_log = logging.getLogger("mailctl.delivery")
_T = TypeVar("_T")

#: Emails of a batch that are claimed, sent and recorded together; a crash leaves two groups in doubt at most.
GROUP_SIZE = 50
#: Seconds after which a batch makes room for emails that are not a campaign's.
BATCH_SECONDS = 1.0
#: Characters that are kept of what is wrong with a message: its writer may have chosen them.
_MAX_REASON_LENGTH = 500


class CoroutineRunner(Protocol):
    """Runs coroutines on the one event loop of the process."""

    def start(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Let `work` begin."""
        ...

    def wait(self, begun: Future[_T], *, every_seconds: float, meanwhile: Callable[[], object]) -> _T:
        """Wait for what was started, calling `meanwhile` every so many seconds."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Emails that are being sent."""

    claims: list[Claim]
    results: Future[list[AttemptResult]]


class Delivery:
    """Sends the emails of a delivery log.

    Args:
        runtime: the parts of this process.
        bridge: runs what waits for the network.
        sender: what messages go out by; used on the bridge only.
    """

    def __init__(self, runtime: Runtime, *, bridge: CoroutineRunner, sender: Sender) -> None:
        self._outbox = runtime.outbox
        self._claims = runtime.claims
        self._settings = runtime.settings
        self._composer = runtime.composer
        self._origins = runtime.link_origins
        self._catalog = runtime.catalog
        self._breaker = CircuitBreaker(runtime.circuits, runtime.outbox)
        self._recorder = OutcomeRecorder(runtime, self._breaker)
        self._bridge = bridge
        self._sender = sender

    def deliver(self, email_id: str, *, worker: str) -> DeliveryResult:
        """Send an email of the log, if it is to be sent and nobody else is at it.

        Args:
            worker: who does it, for the operator.

        Raises:
            LogUnavailable: the delivery log cannot be used; nothing was sent.
        """
        if reason := self._breaker.postpone_if_open(email_id):
            return DeliveryResult(email_id=email_id, state=State.PENDING, text=reason)
        taken = self._claim([email_id], worker=worker)
        if taken.unreadable:
            return DeliveryResult(email_id=email_id, state=State.DEFERRED, text=taken.unreadable[0][1])
        if email_id in taken.suppressed:
            return self._suppressed_result(email_id, taken.suppressed[email_id])
        if not taken.claims:
            return DeliveryResult(email_id=email_id, state=None, text="nothing to do")
        return self._send(taken.claims[0])

    def _claim(self, ids: Sequence[str], *, worker: str) -> ClaimResult:
        taken = self._claims.claim(ids, worker=worker)
        for email_id, reason in taken.unreadable:
            _log.error(
                "email %s cannot be read: %s", email_id, reason, extra=log_extra(email_id, "email_unreadable")
            )
        return taken

    def deliver_message(
        self,
        task_id: str,
        request: EmailRequest,
        arguments: Mapping[str, Json],
        *,
        queue: str,
        worker: str,
    ) -> DeliveryResult:
        """Send what a message asks for in full; one without a row gets it now.

        Args:
            task_id: the Celery task id: the email's id.
            request: the kind of the task, and the times that the headers of the message give.
            arguments: of the kind's task.
            queue: where it came from.

        Raises:
            LogUnavailable: the delivery log cannot be used; nothing was sent.
        """
        try:
            task_id = validation.validate_email_id(task_id)
            report = self.deliver(task_id, worker=worker)
            if report.state is not None:
                return report
            contents = from_arguments(request.kind, arguments, origins=self._origins, catalog=self._catalog)
            named = replace(request, kind=effective_kind(request.kind, contents[0].template))
            drafts = make_drafts(named, contents, queue=queue, now=datetime.now(UTC), first_id=task_id)
            refused = self._outbox.record_from_message(drafts)
        except (InvalidInput, ConfigurationError) as error:
            return self.record_invalid_message(task_id, request.kind, queue=queue, reason=str(error))
        if task_id in refused:
            return self._suppressed_result(task_id, refused[task_id])
        if request.not_before is not None:
            text = f"scheduled for {request.not_before:%F %T}Z"
            return DeliveryResult(email_id=task_id, state=State.PENDING, text=text)
        return self.deliver(task_id, worker=worker)

    def _suppressed_result(self, email_id: str, reason: str) -> DeliveryResult:
        _log.warning("email %s suppressed: %s", email_id, mask_addresses_in_text(reason))
        return DeliveryResult(email_id=email_id, state=State.SUPPRESSED, text=reason)

    def record_invalid_message(self, task_id: str, kind: Kind, *, queue: str, reason: str) -> DeliveryResult:
        """Record a message that can never become an email, as failed.

        Args:
            task_id: the Celery task id; one that is no usable id is recorded under another, always the same.
            queue: where it came from.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        email_id = _usable_id(task_id)
        reason = unicode_safety.escape_controls_as_line(reason[:_MAX_REASON_LENGTH])
        request, nothing = EmailRequest(kind=kind), Content(user=User(email=""))
        [draft] = make_drafts(request, [nothing], queue=queue, now=datetime.now(UTC), first_id=email_id)
        self._outbox.record_failed_message(draft, reason=reason)
        text = mask_addresses_in_text(reason)
        _log.error("email %s (%s) failed: %s", email_id, kind.name, text)
        return DeliveryResult(email_id=email_id, state=State.FAILED, text=text)

    def deliver_batch(self, ids: Sequence[str], *, worker: str) -> int:
        """Send emails of a campaign, group by group; what there is no time for goes back into the log.

        Each email has the states, events and retries that it would have alone.

        Returns:
            How many went where they should.

        Raises:
            LogUnavailable: the delivery log cannot be used; what was not claimed was not sent.
        """
        until = time.monotonic() + BATCH_SECONDS
        delivered = 0
        flights: deque[_Batch] = deque()
        try:
            for start in range(0, len(ids), GROUP_SIZE):
                if time.monotonic() > until:
                    self._claims.return_unstarted(ids[start:], reason="other emails go first")
                    break
                flights.append(self._start(ids[start : start + GROUP_SIZE], worker=worker))
                # One group goes out while the next is claimed and the last is recorded.
                if len(flights) > 1:
                    delivered += self._finish(flights)
        except LogUnavailable:
            while flights:
                self._finish(flights)
            raise
        while flights:
            delivered += self._finish(flights)
        return delivered

    def _start(self, ids: Sequence[str], *, worker: str) -> _Batch:
        tried = [email_id for email_id in ids if not self._breaker.postpone_if_open(email_id)]
        claims = self._claim(tried, worker=worker).claims if tried else []
        in_time = [claim for claim in claims if self._recorder.expire_if_too_late(claim) is None]
        return _Batch(claims=in_time, results=self._bridge.start(self._attempt_all(in_time)))

    def _finish(self, flights: deque[_Batch]) -> int:
        """Wait for the first of the flights and record it; return how many of it went where they should."""
        results = self._wait_for_first(flights)
        return self._recorder.record_all(flights.popleft().claims, results)

    def _wait_for_first(self, flights: Sequence[_Batch]) -> list[AttemptResult]:
        claims = [claim for flight in flights for claim in flight.claims]
        try:
            return self._bridge.wait(
                flights[0].results,
                every_seconds=self._settings.mailctl_lease_seconds / 3,
                meanwhile=lambda: self._extend_leases(claims),
            )
        except BaseException:
            # A time limit of Celery ends the waiting thread, not what it waits for.
            for flight in flights:
                flight.results.cancel()
            raise

    def _send(self, claim: Claim) -> DeliveryResult:
        if late := self._recorder.expire_if_too_late(claim):
            return late
        flight = _Batch(claims=[claim], results=self._bridge.start(self._attempt_all([claim])))
        [result] = self._wait_for_first([flight])
        return self._recorder.record(claim, result)

    async def _attempt_all(self, claims: Sequence[Claim]) -> list[AttemptResult]:
        attempts = (self._attempt(claim) for claim in claims)
        return await asyncio.gather(*attempts, return_exceptions=True)

    async def _attempt(self, claim: Claim) -> tuple[Envelope, Outcome]:
        with tracing.span("mailctl.deliver", parent=claim.content.trace) as span:
            span.set_attributes(email_id=claim.id, kind=claim.kind, attempt=claim.attempts)
            envelope = await self._compose(claim)
            with tracing.span("mailctl.smtp", is_client=True) as asked:
                outcome = await self._sender.send(envelope)
                asked.set_attributes(email_id=claim.id, outcome=outcome.kind, smtp_code=outcome.reply.code)
                if outcome.kind not in DELIVERED_STATE_BY_KIND:
                    asked.fail(outcome.kind)
        return envelope, outcome

    async def _compose(self, claim: Claim) -> Envelope:
        try:
            return await self._composer.compose(
                id=claim.id,
                kind=claim.kind,
                content=claim.content,
                created_at=claim.created_at,
                now=datetime.now(UTC),
            )
        except (MailctlError, OSError):
            raise
        except Exception as error:
            # Whatever is wrong with it, it would be wrong again, and its words may hold what it was given.
            raise RenderError(f"The email cannot be made because of {type(error).__name__}.") from None

    def _extend_leases(self, claims: Sequence[Claim]) -> None:
        try:
            self._claims.extend(claims)
        except LogUnavailable as error:
            _log.warning("the leases of %d emails could not be prolonged: %s", len(claims), error)


def _usable_id(task_id: object) -> str:
    try:
        return validation.validate_email_id(task_id)
    except InvalidInput:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, ascii(task_id)))
