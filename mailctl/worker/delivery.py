"""The delivery of emails in order: claim, compose, send, record. No other module knows this order."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl.broker.unvalidated import parse_message, unvalidated_content, usable_email_id
from mailctl.delivery_log.due import GROUP_SIZE
from mailctl.domain import validation
from mailctl.domain.catalog import effective_kind
from mailctl.domain.factory import make_drafts
from mailctl.domain.request import EmailRequest
from mailctl.domain.routing import DEFAULT_SERVER
from mailctl.domain.states import State
from mailctl.errors import InvalidInput, LogUnavailable
from mailctl.json_logging import log_extra
from mailctl.settings import GROUPS_QUEUE
from mailctl.worker.attempts import Attempts
from mailctl.worker.delivery_options import DeliveryOptions, ignore_results
from mailctl.worker.in_flight import EmailsInFlight, Group, result_of
from mailctl.worker.log_backlog import LogBacklog
from mailctl.worker.message_results import failed_result, suppressed_result
from mailctl.worker.outcome_recorder import (
    AttemptResult,
    DeliveryResult,
    OutcomeRecorder,
    as_reason,
)
from mailctl.worker.server_choice import ServerChoice
from mailctl.worker.soft_time_limit import NO_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mailctl.broker.unvalidated import ParsedMessage
    from mailctl.delivery_log.claims import ClaimResult
    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Claim, Draft, Json
    from mailctl.runtime import Runtime
    from mailctl.smtp.sender import Sender
    from mailctl.worker.event_loop import CoroutineRun, CoroutineRunner

_log = logging.getLogger("mailctl.delivery")
#: Seconds of a turn.
TURN_SECONDS = 1.0
#: Seconds before each try to return an email to the log: its message may arrive before the log records that
#: it was published, which would undo the return.
_RETRY_DELAYS = (0.0, 0.05, 0.1, 0.2)
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
        self._rules = runtime.argument_rules
        self._servers = ServerChoice(runtime)
        self._recorder = OutcomeRecorder(runtime, self._servers)
        self._event_loop = event_loop
        self._sender = sender
        self._attempts = Attempts(runtime, sender, self._servers)
        self._in_flight = EmailsInFlight(
            self._recorder,
            self._claims,
            lease_seconds=self._settings.mailctl_lease_seconds,
            capacity=sender.capacity,
            count_stuck=sender.count_stuck,
            take_waiting=self._take_waiting,
        )
        self._backlog = LogBacklog(runtime, capacity=sender.capacity)
        #: The worker and the options of the last message, also for emails that wait in the log.
        self._taking: tuple[str, DeliveryOptions] | None = None

    def finish(self) -> None:
        """Wait until the emails of all groups are recorded."""
        self._in_flight.finish()

    def close(self) -> None:
        """Finish, and send no more groups."""
        self._taking = None
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
        streak = self._backlog.streak
        began_at, servers = streak.begin(), self._servers.by_server([email_id])
        if why := self._leave_to_others([email_id], servers, queue=options.queue):
            streak.leave()
            result = DeliveryResult(email_id=email_id, state=State.PENDING, text=why)
        else:
            result = self._deliver_one(email_id, servers, worker=worker, options=options)
            streak.end(began_at, is_known=result.state is not None)
        self._look_for_waiting(worker, options)
        return result

    def _deliver_one(
        self, email_id: str, servers: Iterable[str], *, worker: str, options: DeliveryOptions
    ) -> DeliveryResult:
        until, wanted = time.monotonic() + self._turn_seconds, dict.fromkeys(servers, 1)
        server, room = self._in_flight.wait_for_room(is_campaign=False, wanted=wanted, until=until)
        if not room:
            state = State.PENDING if self._claims.return_unstarted([email_id], reason=_NO_OTHERS) else None
            return DeliveryResult(email_id=email_id, state=state, text=_NO_OTHERS)
        with self._in_flight.counting(server):
            return self._claim_and_send(email_id, worker=worker, options=options)

    def _claim_and_send(self, email_id: str, *, worker: str, options: DeliveryOptions) -> DeliveryResult:
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

    def _leave_to_others(self, ids: Sequence[str], servers: Iterable[str], *, queue: str) -> str:
        """Return emails to the log if others can send them sooner; return the reason, or "" if not."""
        why = self._backlog.reason_to_leave(servers, queue=queue, has_room=lambda: self._room(servers) > 0)
        return why if why and any(self._return_after(each, ids, reason=why) for each in _RETRY_DELAYS) else ""

    def _return_after(self, seconds: float, ids: Sequence[str], *, reason: str) -> bool:
        """Return emails to the log after a while; return whether there were any that nobody had claimed."""
        time.sleep(seconds)
        return self._claims.return_unstarted(ids, reason=reason) > 0

    def _room(self, servers: Iterable[str]) -> int:
        """Return how many more emails may be claimed now."""
        wanted = dict.fromkeys(servers, GROUP_SIZE)
        return self._in_flight.wait_for_room(is_campaign=False, wanted=wanted, until=0.0)[1]

    def _look_for_waiting(self, worker: str, options: DeliveryOptions) -> None:
        """Look for emails that wait in the log, to be sent like those of the last message."""
        self._taking = worker, replace(options, is_campaign=False, soft_limit=NO_LIMIT)
        with suppress(LogUnavailable):  # the emails of this message are handled
            if self._backlog.may_take():
                self._in_flight.look_for_waiting()

    def _take_waiting(self) -> bool:
        """Send emails that wait in the log, as far as there is room; return whether more may come soon."""
        may_take = self._taking is not None and self._backlog.may_take()
        if not may_take or (taking := self._taking) is None:  # it was closed meanwhile
            return False
        worker, options = taking
        room = self._room([DEFAULT_SERVER]) if self._sender.capacity(DEFAULT_SERVER) else 0
        if room and (ids := self._backlog.find_waiting(limit=room)):
            self._begin(self._claim_group(ids, worker=worker, options=options), seconds=options.seconds)
        return True

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
        if not options.is_campaign and self._leave_to_others(ids, remaining, queue=GROUPS_QUEUE):
            return 0
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
        self._look_for_waiting(worker, options)
        return started

    def _claim_group(self, ids: Sequence[str], *, worker: str, options: DeliveryOptions) -> Group:
        postponed = self._servers.postpone(ids)
        ids_to_claim = [email_id for email_id in ids if email_id not in postponed]
        claims = self._claim(ids_to_claim, worker=worker).claims if ids_to_claim else []
        return Group(
            claims=[claim for claim in claims if self._recorder.expire_if_too_late(claim) is None],
            is_campaign=options.is_campaign,
            on_recorded=ignore_results if options.is_campaign else options.on_recorded,
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
        self._in_flight.end(claim, await self._attempts.make(claim, is_campaign=group.is_campaign))

    def _send(self, claim: Claim, options: DeliveryOptions) -> DeliveryResult:
        if expired := self._recorder.expire_if_too_late(claim):
            return expired
        attempt = self._event_loop.start(self._attempts.make(claim, seconds=options.seconds))
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


def _all_of(ids_by_server: Mapping[str, Sequence[str]]) -> list[str]:
    return [email_id for ids in ids_by_server.values() for email_id in ids]
