"""The delivery of emails in order: claim, compose, send, record. No other module knows this order."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from mailctl import tracing
from mailctl.broker.unvalidated import parse_message, unvalidated_content, validated_content
from mailctl.domain import unicode_safety, validation
from mailctl.domain.catalog import effective_kind
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import Claim, Content, Envelope, State
from mailctl.domain.request import EmailRequest
from mailctl.errors import InvalidInput, LogUnavailable, MailctlError, RenderError
from mailctl.json_logging import log_extra
from mailctl.redaction import mask_addresses_in_text
from mailctl.security.content_masking import SecretMasker
from mailctl.worker.outcomes import SENT_STATE_BY_KIND, AttemptResult, DeliveryResult, OutcomeRecorder
from mailctl.worker.server_choice import ServerChoice

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from concurrent.futures import Future
    from typing import Any

    from mailctl.broker.unvalidated import ParsedMessage
    from mailctl.delivery_log.claims import ClaimResult
    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Content, Draft, Json
    from mailctl.domain.outcomes import Outcome
    from mailctl.runtime import Runtime
    from mailctl.smtp.sender import Sender

_log = logging.getLogger("mailctl.delivery")
_T = TypeVar("_T")

#: Emails of a batch that are claimed, sent and recorded together. A crash leaves at most two groups
#: ambiguous.
GROUP_SIZE = 50
#: Seconds after which a batch yields to emails that do not belong to a campaign.
BATCH_SECONDS = 1.0
#: Characters of a reason that are recorded; the publisher of the message may have chosen them.
_MAX_REASON_LENGTH = 500


class CoroutineRunner(Protocol):
    """Runs coroutines on the event loop of the process."""

    def start(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Start a coroutine, and return the future of its result."""
        ...

    def wait(self, future: Future[_T], *, every_seconds: float, meanwhile: Callable[[], object]) -> _T:
        """Wait for a future, and call `meanwhile` at an interval during the wait."""
        ...


@dataclass(frozen=True, kw_only=True)
class _EmailGroup:
    """A group of claimed emails that are being sent."""

    claims: list[Claim]
    results: Future[list[AttemptResult]]


class Delivery:
    """Sends the emails of a delivery log.

    Args:
        runtime: the parts of this process.
        event_loop: runs what waits for the network.
        sender: sends the messages; it is used on the event loop only.
    """

    def __init__(self, runtime: Runtime, *, event_loop: CoroutineRunner, sender: Sender) -> None:
        self._clock = runtime.clock
        self._outbox = runtime.outbox
        self._claims = runtime.claims
        self._settings = runtime.settings
        self._composer = runtime.composer
        self._rules = runtime.argument_rules
        self._catalog = runtime.catalog
        self._servers = ServerChoice(runtime)
        self._recorder = OutcomeRecorder(runtime, self._servers)
        self._event_loop = event_loop
        self._sender = sender

    def deliver(self, email_id: str, *, worker: str) -> DeliveryResult:
        """Send an email of the delivery log, if it is due and no other worker has claimed it.

        Args:
            email_id: the id of the email.
            worker: the node name of this worker.

        Raises:
            LogUnavailable: the delivery log does not answer; nothing was sent.
        """
        if postponed := self._servers.postpone([email_id]):
            return DeliveryResult(email_id=email_id, state=State.PENDING, text=postponed[email_id])
        claimed = self._claim([email_id], worker=worker)
        if claimed.unreadable:
            return DeliveryResult(email_id=email_id, state=State.DEFERRED, text=claimed.unreadable[0][1])
        if email_id in claimed.suppressed:
            return self._suppressed_result(email_id, claimed.suppressed[email_id])
        if not claimed.claims:
            return DeliveryResult(email_id=email_id, state=None, text="nothing to do")
        return self._send(claimed.claims[0])

    def _claim(self, ids: Sequence[str], *, worker: str) -> ClaimResult:
        planner = self._servers.plan if self._servers.has_several else None
        claimed = self._claims.claim(ids, worker=worker, planner=planner)
        for email_id, reason in claimed.unreadable:
            fields = log_extra(email_id, "email_unreadable")
            _log.error("email %s cannot be read: %s", email_id, reason, extra=fields)
        return claimed

    def deliver_message(
        self,
        task_id: str,
        request: EmailRequest,
        arguments: Mapping[str, Json],
        *,
        queue: str,
        worker: str,
    ) -> DeliveryResult:
        """Send an email whose message contains all of it, and record it first if the log has no row for it.

        Args:
            task_id: the Celery task id, which is the id of the email.
            request: the kind of the task, and the times that the headers of the message give.
            arguments: the arguments of the task.
            queue: the queue that the message came from.
            worker: the node name of this worker.

        Raises:
            LogUnavailable: the delivery log does not answer; nothing was sent.
        """
        try:
            task_id = validation.validate_email_id(task_id)
        except InvalidInput as error:
            return self.record_invalid_message(
                task_id, request.kind, arguments, queue=queue, reason=str(error)
            )
        result = self.deliver(task_id, worker=worker)
        if result.state is not None:
            return result
        parsed = parse_message(request.kind, arguments, self._rules)
        drafts = self._drafts(parsed, request, queue=queue, first_id=task_id)
        # The invalid ones come last: the message carries the first email.
        invalid = {
            draft.id: _as_reason(part.reason)
            for draft, part in zip(drafts[len(parsed.contents) :], parsed.invalid, strict=True)
        }
        try:
            suppressed = self._outbox.record_from_message(drafts, invalid=invalid)
        except InvalidInput as error:  # a value that cannot be stored
            return self.record_invalid_message(
                task_id, request.kind, arguments, queue=queue, reason=str(error)
            )
        for email_id, reason in invalid.items():
            result = self._failed_result(email_id, request.kind, reason)
        if task_id in invalid:
            return result
        if task_id in suppressed:
            return self._suppressed_result(task_id, suppressed[task_id])
        if request.not_before is not None:
            text = f"scheduled for {request.not_before:%F %T}Z"
            return DeliveryResult(email_id=task_id, state=State.PENDING, text=text)
        return self.deliver(task_id, worker=worker)

    def _drafts(
        self, parsed: ParsedMessage, request: EmailRequest, *, queue: str, first_id: str
    ) -> list[Draft]:
        contents = [*parsed.contents, *(part.content for part in parsed.invalid)]
        named = replace(request, kind=effective_kind(request.kind, contents[0].template))
        return make_drafts(
            named,
            contents,
            queue=queue,
            now=self._clock(),
            first_id=first_id,
            seals_tokens=self._settings.seals_link_tokens,
        )

    def _suppressed_result(self, email_id: str, reason: str) -> DeliveryResult:
        _log.warning("email %s suppressed: %s", email_id, mask_addresses_in_text(reason))
        return DeliveryResult(email_id=email_id, state=State.SUPPRESSED, text=reason)

    def record_invalid_message(
        self, task_id: str, kind: Kind, arguments: Mapping[str, Json], *, queue: str, reason: str
    ) -> DeliveryResult:
        """Record a message that cannot become an email as a failed email, which keeps what the message says.

        Args:
            task_id: the Celery task id; an invalid one is replaced by an id that is derived from it.
            kind: the kind of the task.
            arguments: the arguments of the task by name, as far as they could be read.
            queue: the queue that the message came from.
            reason: why the message is invalid.

        Raises:
            LogUnavailable: the delivery log does not answer.
        """
        email_id, reason = _valid_id(task_id), _as_reason(reason)
        content = unvalidated_content(kind, arguments)
        [draft] = make_drafts(
            EmailRequest(kind=kind), [content], queue=queue, now=self._clock(), first_id=email_id
        )
        self._outbox.record_failed_message(draft, reason=reason)
        return self._failed_result(email_id, kind, reason)

    def _failed_result(self, email_id: str, kind: Kind, reason: str) -> DeliveryResult:
        text = mask_addresses_in_text(reason)
        _log.error("email %s (%s) failed: %s", email_id, kind.name, text)
        return DeliveryResult(email_id=email_id, state=State.FAILED, text=text)

    def deliver_batch(self, ids: Sequence[str], *, worker: str) -> int:
        """Send emails of a campaign in groups; emails that are not reached in time go back to the log.

        Each email gets the same states, events and retries as a single email.

        Args:
            ids: the ids of the emails.
            worker: the node name of this worker.

        Returns:
            The number of emails that were sent or captured.

        Raises:
            LogUnavailable: the delivery log does not answer; emails that were not claimed were not sent.
        """
        deadline = time.monotonic() + BATCH_SECONDS
        sent = 0
        groups: deque[_EmailGroup] = deque()
        try:
            for start in range(0, len(ids), GROUP_SIZE):
                if time.monotonic() > deadline:
                    self._claims.return_unstarted(ids[start:], reason="other emails go first")
                    break
                groups.append(self._start(ids[start : start + GROUP_SIZE], worker=worker))
                # One group is being sent while the next is claimed and the previous one is recorded.
                if len(groups) > 1:
                    sent += self._finish(groups)
        except LogUnavailable:
            while groups:
                self._finish(groups)
            raise
        while groups:
            sent += self._finish(groups)
        return sent

    def _start(self, ids: Sequence[str], *, worker: str) -> _EmailGroup:
        postponed = self._servers.postpone(ids)
        ids_to_claim = [email_id for email_id in ids if email_id not in postponed]
        claims = self._claim(ids_to_claim, worker=worker).claims if ids_to_claim else []
        in_time = [claim for claim in claims if self._recorder.expire_if_too_late(claim) is None]
        return _EmailGroup(claims=in_time, results=self._event_loop.start(self._attempt_all(in_time)))

    def _finish(self, groups: deque[_EmailGroup]) -> int:
        """Wait for the first group, record it, and return how many of its emails were sent or captured."""
        results = self._wait_for_first(groups)
        return self._recorder.record_all(groups.popleft().claims, results)

    def _wait_for_first(self, groups: Sequence[_EmailGroup]) -> list[AttemptResult]:
        claims = [claim for group in groups for claim in group.claims]
        try:
            return self._event_loop.wait(
                groups[0].results,
                every_seconds=self._settings.mailctl_lease_seconds / 3,
                meanwhile=lambda: self._extend_leases(claims),
            )
        except BaseException:
            # A time limit of Celery interrupts this thread, but not the event loop.
            for group in groups:
                group.results.cancel()
            raise

    def _send(self, claim: Claim) -> DeliveryResult:
        if expired := self._recorder.expire_if_too_late(claim):
            return expired
        group = _EmailGroup(claims=[claim], results=self._event_loop.start(self._attempt_all([claim])))
        [result] = self._wait_for_first([group])
        return self._recorder.record(claim, result)

    async def _attempt_all(self, claims: Sequence[Claim]) -> list[AttemptResult]:
        attempts = (self._attempt(claim) for claim in claims)
        return await asyncio.gather(*attempts, return_exceptions=True)

    async def _attempt(self, claim: Claim) -> tuple[Envelope, Outcome]:
        with tracing.span("mailctl.deliver", parent=claim.content.trace) as span:
            span.set_attributes(email_id=claim.id, kind=claim.kind, attempt=claim.attempts)
            envelope = await self._compose(claim)
            with tracing.span("mailctl.smtp", is_client=True) as smtp_span:
                outcome = _without_links(await self._hand_over(claim, envelope), envelope, claim.content)
                smtp_span.set_attributes(
                    email_id=claim.id, outcome=outcome.kind, smtp_code=outcome.reply.code
                )
                if outcome.kind not in SENT_STATE_BY_KIND:
                    smtp_span.fail(outcome.kind)
        return envelope, outcome

    async def _hand_over(self, claim: Claim, envelope: Envelope) -> Outcome:
        """Offer a message to its mail server, and to those that follow as long as none works."""
        server, tried = claim.plan.server, []
        while True:
            tried.append(server)
            outcome = await self._sender.send(replace(envelope, server=server), fence=claim.lease.require)
            if len(tried) > len(claim.plan.alternatives):
                return outcome
            following = await asyncio.to_thread(self._servers.move_on, claim, outcome, tried)
            if following is None:
                return outcome
            server = following

    async def _compose(self, claim: Claim) -> Envelope:
        try:
            return await self._composer.compose(
                id=claim.id,
                kind=claim.kind,
                content=self._validated(claim),
                created_at=claim.created_at,
                now=self._clock(),
                can_unsubscribe=claim.can_unsubscribe,
            )
        except (MailctlError, OSError):
            raise
        except Exception as error:
            # A retry would fail again. The text of the error may quote the content of the email.
            raise RenderError(f"The email cannot be rendered because of {type(error).__name__}.") from None

    def _validated(self, claim: Claim) -> Content:
        return validated_content(self._catalog.get_recorded(claim.kind), claim.content, self._rules)

    def _extend_leases(self, claims: Sequence[Claim]) -> None:
        try:
            self._claims.extend(claims)
        except LogUnavailable as error:
            _log.warning("cannot extend the leases of %d emails: %s", len(claims), error)


def _without_links(outcome: Outcome, envelope: Envelope, content: Content) -> Outcome:
    """Return an outcome whose reply does not quote the links and tokens of the email."""
    reply = outcome.reply
    if outcome.kind in SENT_STATE_BY_KIND or not reply.text:
        return outcome
    text = SecretMasker(content, envelope.links.values()).mask_known(reply.text)
    return outcome if text == reply.text else replace(outcome, reply=replace(reply, text=text))


def _valid_id(task_id: object) -> str:
    try:
        return validation.validate_email_id(task_id)
    except InvalidInput:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, ascii(task_id)))


def _as_reason(text: str) -> str:
    """Return a reason for a row of the log: one line of limited length."""
    return unicode_safety.escape_controls_as_line(text[:_MAX_REASON_LENGTH])
