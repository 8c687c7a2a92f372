"""The delivery of emails in order: claim, compose, send, record. No other module knows this order."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl import tracing
from mailctl.broker.unvalidated import parse_message, unvalidated_content, usable_email_id, validated_content
from mailctl.delivery_log.due import GROUP_SIZE
from mailctl.domain import validation
from mailctl.domain.catalog import effective_kind
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import Claim, Envelope, State
from mailctl.domain.request import EmailRequest
from mailctl.errors import InvalidInput, LogUnavailable, MailctlError, RenderError
from mailctl.json_logging import log_extra
from mailctl.worker.delivery_options import DeliveryOptions
from mailctl.worker.in_flight import EmailsInFlight, Group, result_of
from mailctl.worker.message_results import failed_result, suppressed_result
from mailctl.worker.outcomes import (
    SENT_STATE_BY_KIND,
    AttemptResult,
    DeliveryResult,
    OutcomeRecorder,
    as_reason,
    interrupted,
    without_links,
)
from mailctl.worker.server_choice import ServerChoice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailctl.broker.unvalidated import ParsedMessage
    from mailctl.delivery_log.claims import ClaimResult
    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Draft, Json
    from mailctl.domain.outcomes import Outcome
    from mailctl.runtime import Runtime
    from mailctl.smtp.sender import Sender
    from mailctl.worker.event_loop import CoroutineRun, CoroutineRunner

_log = logging.getLogger("mailctl.delivery")
#: Seconds of a turn.
TURN_SECONDS = 1.0
_NO_OTHERS, _NO_TIME = "other emails go first", "the time limit of its message was reached"
_DEFAULT_OPTIONS = DeliveryOptions()


class Delivery:
    """Sends the emails of a delivery log.

    Args:
        runtime: the parts of this process.
        event_loop: runs what waits for the network.
        sender: sends the messages; it is used on the event loop only.
        turn_seconds: seconds after which a delivery returns, so that other emails have their turn: a group
            claims no more, and what is being sent is finished in the background.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        event_loop: CoroutineRunner,
        sender: Sender,
        turn_seconds: float = TURN_SECONDS,
    ) -> None:
        self._turn_seconds = turn_seconds
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
        self._in_flight = EmailsInFlight(
            self._recorder,
            self._claims,
            lease_seconds=self._settings.mailctl_lease_seconds,
            capacity=sender.capacity,
        )

    def finish(self) -> None:
        """Wait until the emails of all groups are recorded."""
        self._in_flight.finish()

    def close(self) -> None:
        """Finish, and send no more groups."""
        self._in_flight.close()

    def deliver(
        self, email_id: str, *, worker: str, options: DeliveryOptions = _DEFAULT_OPTIONS
    ) -> DeliveryResult:
        """Send an email of the delivery log, if it is due and no other worker has claimed it.

        Args:
            email_id: the id of the email.
            worker: the node name of this worker.
            options: how it is sent.

        Returns:
            The result; its state is `sending` if the email takes long, and is recorded later.

        Raises:
            LogUnavailable: the delivery log does not answer; nothing was sent.
        """
        turn_ends_at = time.monotonic() + self._turn_seconds
        wanted = dict.fromkeys(self._servers.by_server([email_id]), 1)
        if not self._in_flight.wait_for_room(is_campaign=False, wanted=wanted, until=turn_ends_at)[1]:
            state = State.PENDING if self._claims.return_unstarted([email_id], reason=_NO_OTHERS) else None
            return DeliveryResult(email_id=email_id, state=state, text=_NO_OTHERS)
        if postponed := self._servers.postpone([email_id]):
            return DeliveryResult(email_id=email_id, state=State.PENDING, text=postponed[email_id])
        claimed = self._claim([email_id], worker=worker)
        if claimed.unreadable:
            return DeliveryResult(email_id=email_id, state=State.DEFERRED, text=claimed.unreadable[0][1])
        if email_id in claimed.suppressed:
            return suppressed_result(email_id, claimed.suppressed[email_id])
        if not claimed.claims:
            return DeliveryResult(email_id=email_id, state=None, text="nothing to do")
        return self._send(claimed.claims[0], options)

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
        options: DeliveryOptions = _DEFAULT_OPTIONS,
    ) -> DeliveryResult:
        """Send an email whose message contains all of it, and record it first if the log has no row for it.

        Args:
            task_id: the Celery task id, which is the id of the email.
            request: the kind of the task, and the times that the headers of the message give.
            arguments: the arguments of the task.
            queue: the queue that the message came from.
            worker: the node name of this worker.
            options: how it is sent.

        Returns:
            As `deliver`.

        Raises:
            LogUnavailable: the delivery log does not answer; nothing was sent.
        """
        try:
            task_id = validation.validate_email_id(task_id)
        except InvalidInput as error:
            return self.record_invalid_message(
                task_id, request.kind, arguments, queue=queue, reason=str(error)
            )
        result = self.deliver(task_id, worker=worker, options=options)
        if result.state is not None:
            return result
        parsed = parse_message(request.kind, arguments, self._rules)
        drafts = self._drafts(parsed, request, queue=queue, first_id=task_id)
        # The invalid ones come last: the message carries the first email.
        invalid = {
            draft.id: as_reason(part.reason)
            for draft, part in zip(drafts[len(parsed.contents) :], parsed.invalid, strict=True)
        }
        try:
            suppressed = self._outbox.record_from_message(drafts, invalid=invalid)
        except InvalidInput as error:  # a value that cannot be stored
            return self.record_invalid_message(
                task_id, request.kind, arguments, queue=queue, reason=str(error)
            )
        for email_id, reason in invalid.items():
            result = failed_result(email_id, request.kind, reason)
        if task_id in invalid:
            return result
        if task_id in suppressed:
            return suppressed_result(task_id, suppressed[task_id])
        if request.not_before is not None:
            text = f"scheduled for {request.not_before:%F %T}Z"
            return DeliveryResult(email_id=task_id, state=State.PENDING, text=text)
        return self.deliver(task_id, worker=worker, options=options)

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
        email_id, reason = usable_email_id(task_id), as_reason(reason)
        content = unvalidated_content(kind, arguments)
        [draft] = make_drafts(
            EmailRequest(kind=kind), [content], queue=queue, now=self._clock(), first_id=email_id
        )
        self._outbox.record_failed_message(draft, reason=reason)
        return failed_result(email_id, kind, reason)

    def deliver_batch(
        self, ids: Sequence[str], *, worker: str, options: DeliveryOptions = _DEFAULT_OPTIONS
    ) -> int:
        """Start sending emails as sessions become free; what is not reached in time goes back to the log.

        It returns when they are started. Each is recorded when it ends (`finish` waits for that), with the
        same states, events and retries as a single email.

        Args:
            ids: the ids of the emails.
            worker: the node name of this worker.
            options: how they are sent.

        Returns:
            The number of emails that were started.

        Raises:
            LogUnavailable: the delivery log does not answer; emails that were not claimed were not sent.
        """
        deadline = time.monotonic() + self._turn_seconds
        attempts: list[CoroutineRun[None]] = []
        remaining, started = self._servers.by_server(ids), 0
        try:
            while remaining and not options.soft_limit.is_reached:
                wanted = {server: min(len(some), GROUP_SIZE) for server, some in remaining.items()}
                server, room = self._in_flight.wait_for_room(
                    is_campaign=options.is_campaign, wanted=wanted, until=deadline
                )
                if not room:
                    self._claims.return_unstarted(_all_of(remaining), reason=_NO_OTHERS)
                    break
                some, rest = remaining[server][:room], remaining.pop(server)[room:]
                remaining |= {server: rest} if rest else {}
                group = self._claim_group(some, worker=worker, options=options)
                attempts.append(self._begin(group, seconds=options.seconds))
                options.soft_limit.on_reached(attempts[-1].interrupt)
                started += len(group.claims)
            if remaining and options.soft_limit.is_reached:
                self._claims.return_unstarted(_all_of(remaining), reason=_NO_TIME)
        except LogUnavailable:
            raise
        except BaseException:
            # Whoever interrupts this thread does not interrupt the event loop.
            for attempt in attempts:
                attempt.interrupt()
            raise
        return started

    def _claim_group(self, ids: Sequence[str], *, worker: str, options: DeliveryOptions) -> Group:
        postponed = self._servers.postpone(ids)
        ids_to_claim = [email_id for email_id in ids if email_id not in postponed]
        claims = self._claim(ids_to_claim, worker=worker).claims if ids_to_claim else []
        return Group(
            claims=[claim for claim in claims if self._recorder.expire_if_too_late(claim) is None],
            is_campaign=options.is_campaign,
            on_recorded=options.on_recorded,
        )

    def _begin(self, group: Group, *, seconds: float | None) -> CoroutineRun[None]:
        self._in_flight.begin(group)
        attempts = self._event_loop.start(self._attempt_group(group, seconds=seconds))
        # Those that were interrupted before they began have no result.
        attempts.add_done_callback(lambda _: self._in_flight.end_rest(group))
        return attempts

    async def _attempt_group(self, group: Group, *, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(self._attempt_and_end(claim, group) for claim in group.claims))

    async def _attempt_and_end(self, claim: Claim, group: Group) -> None:
        self._in_flight.end(claim, await self._attempt_to_end(claim, is_campaign=group.is_campaign))

    def _send(self, claim: Claim, options: DeliveryOptions) -> DeliveryResult:
        if expired := self._recorder.expire_if_too_late(claim):
            return expired
        attempt = self._event_loop.start(self._attempt_one(claim, seconds=options.seconds))
        options.soft_limit.on_reached(attempt.interrupt)
        try:
            wait([attempt], timeout=self._turn_seconds)
        except BaseException:
            # Whoever interrupts this thread does not interrupt the event loop.
            self._finish_later(claim, attempt, options)
            attempt.interrupt()
            raise
        if attempt.done():
            return self._recorder.record(claim, result_of(attempt))
        self._finish_later(claim, attempt, options)
        return DeliveryResult(email_id=claim.id, state=State.SENDING, text="is being sent")

    def _finish_later(
        self, claim: Claim, attempt: CoroutineRun[AttemptResult], options: DeliveryOptions
    ) -> None:
        """Leave an attempt that takes long running in the background; it is recorded when it ends."""
        group = Group(claims=[claim], is_campaign=False, on_recorded=options.on_recorded)
        self._in_flight.begin(group)
        attempt.add_done_callback(lambda ended: self._in_flight.end(claim, result_of(ended)))

    async def _attempt_one(self, claim: Claim, *, seconds: float | None) -> AttemptResult:
        async with asyncio.timeout(seconds):
            return await self._attempt_to_end(claim)

    async def _attempt_to_end(self, claim: Claim, *, is_campaign: bool = False) -> AttemptResult:
        """Attempt to send an email; return how that ended, also if it was interrupted."""
        try:
            return await self._attempt(claim, is_campaign=is_campaign)
        except (Exception, asyncio.CancelledError) as error:
            return error

    async def _attempt(self, claim: Claim, *, is_campaign: bool = False) -> tuple[Envelope, Outcome]:
        with tracing.span("mailctl.deliver", parent=claim.content.trace) as span:
            span.set_attributes(email_id=claim.id, kind=claim.kind, attempt=claim.attempts)
            envelope = await self._compose(claim)
            with tracing.span("mailctl.smtp", is_client=True) as smtp_span:
                outcome = without_links(
                    await self._hand_over(claim, envelope, is_campaign=is_campaign), envelope, claim.content
                )
                smtp_span.set_attributes(
                    email_id=claim.id, outcome=outcome.kind, smtp_code=outcome.reply.code
                )
                if outcome.kind not in SENT_STATE_BY_KIND:
                    smtp_span.fail(outcome.kind)
        return envelope, outcome

    async def _hand_over(self, claim: Claim, envelope: Envelope, *, is_campaign: bool) -> Outcome:
        """Offer a message to its mail server, and to those that follow as long as none works."""
        server, tried = claim.plan.server, []
        while True:
            tried.append(server)
            addressed = replace(envelope, server=server, is_of_campaign=is_campaign)
            try:
                outcome = await self._sender.send(addressed, fence=claim.lease.require)
            except asyncio.CancelledError:
                return replace(interrupted(has_begun=addressed.handover.has_begun), server=server)
            if not self._servers.may_move_on(claim, outcome, tried):
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
                content=validated_content(self._catalog.get_recorded(claim.kind), claim.content, self._rules),
                created_at=claim.created_at,
                now=self._clock(),
                can_unsubscribe=claim.can_unsubscribe,
            )
        except (MailctlError, OSError):
            raise
        except Exception as error:
            # A retry would fail again. The text of the error may quote the content of the email.
            raise RenderError(f"The email cannot be rendered because of {type(error).__name__}.") from None


def _all_of(ids_by_server: Mapping[str, Sequence[str]]) -> list[str]:
    return [email_id for ids in ids_by_server.values() for email_id in ids]
