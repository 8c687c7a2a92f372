"""The one place that knows the order: claim, compose, send, record."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from mailctl import inputs, tracing
from mailctl.breaker import Breaker
from mailctl.errors import ConfigurationError, InvalidInput, LogUnavailable, MailctlError, RenderError
from mailctl.intake import make_drafts
from mailctl.journal import about
from mailctl.message import (
    MAYBE_SENT,
    Claim,
    Content,
    Ended,
    Envelope,
    Outcome,
    OutcomeKind,
    SmtpReply,
    State,
    User,
)
from mailctl.redaction import without_addresses
from mailctl.retry import GiveUp, decide, is_too_late
from mailctl.wire import from_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from concurrent.futures import Future
    from typing import Any

    from mailctl.catalog import Kind
    from mailctl.log.circuits import Circuit
    from mailctl.log.claims import Taken
    from mailctl.message import Json
    from mailctl.runtime import Runtime
    from mailctl.smtp.sender import Sender

_log = logging.getLogger("mailctl.delivery")
_T = TypeVar("_T")

#: Seconds between attempts to record an outcome while the delivery log does not answer.
_RECORD_AGAIN_SECONDS = 1.0
#: Emails of a batch that are claimed, sent and recorded together; a crash leaves two groups in doubt at most.
GROUP = 25
#: Seconds after which a batch makes room for emails that are not a campaign's.
BATCH_SECONDS = 1.0
#: Characters that are kept of what is wrong with a message: its writer may have chosen them.
_MAX_REASON = 500
_DELIVERED = {OutcomeKind.ACCEPTED: State.SENT, OutcomeKind.CAPTURED: State.CAPTURED}
_TOO_LATE = "its links died before it could go out"


class Bridge(Protocol):
    """Runs coroutines on the one event loop of the process."""

    def start(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Let `work` begin."""
        ...

    def wait(self, begun: Future[_T], *, every_seconds: float, meanwhile: Callable[[], object]) -> _T:
        """Wait for what was started, calling `meanwhile` every so many seconds."""
        ...


_Attempt = tuple[Envelope, Outcome] | BaseException


@dataclass(frozen=True, kw_only=True)
class _Flight:
    """Emails that are being sent."""

    claims: list[Claim]
    attempts: Future[list[_Attempt]]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a task did for an email; `state` is None if there was nothing to do."""

    email_id: str
    state: State | None
    #: For the worker's log and the Celery result: no address in it can be read.
    text: str = ""


class Delivery:
    """Sends the emails of a delivery log.

    Args:
        runtime: the parts of this process.
        bridge: runs what waits for the network.
        sender: what messages go out by; used on the bridge only.
    """

    def __init__(self, runtime: Runtime, *, bridge: Bridge, sender: Sender) -> None:
        self._outbox = runtime.outbox
        self._claims = runtime.claims
        self._settings = runtime.settings
        self._policy = runtime.retry_policy
        self._composer = runtime.composer
        self._origins = runtime.origins
        self._breaker = Breaker(runtime.circuits, runtime.outbox)
        self._bridge = bridge
        self._sender = sender

    def deliver(self, email_id: str, *, worker: str) -> Report:
        """Send an email of the log, if it is to be sent and nobody else is at it.

        Args:
            worker: who does it, for the operator.

        Raises:
            LogUnavailable: the delivery log cannot be used; nothing was sent.
        """
        if reason := self._breaker.keep_back(email_id):
            return Report(email_id=email_id, state=State.PENDING, text=reason)
        taken = self._take([email_id], worker=worker)
        if taken.unreadable:
            return Report(email_id=email_id, state=State.DEFERRED, text=taken.unreadable[0][1])
        if email_id in taken.suppressed:
            return self._suppressed(email_id, taken.suppressed[email_id])
        if not taken.claims:
            return Report(email_id=email_id, state=None, text="nothing to do")
        return self._send(taken.claims[0])

    def _take(self, ids: Sequence[str], *, worker: str) -> Taken:
        taken = self._claims.take(ids, worker=worker)
        for email_id, reason in taken.unreadable:
            _log.error(
                "email %s cannot be read: %s", email_id, reason, extra=about(email_id, "email_unreadable")
            )
        return taken

    def deliver_message(
        self, task_id: str, kind: Kind, arguments: Mapping[str, Json], *, queue: str, worker: str
    ) -> Report:
        """Send what a message asks for in full; one without a row gets it now.

        Args:
            task_id: the Celery task id: the email's id.
            arguments: of the kind's task.
            queue: where it came from.

        Raises:
            LogUnavailable: the delivery log cannot be used; nothing was sent.
        """
        try:
            task_id = inputs.email_id(task_id)
            report = self.deliver(task_id, worker=worker)
            if report.state is not None:
                return report
            contents = from_arguments(kind, arguments, origins=self._origins)
            now = datetime.now(UTC)
            refused = self._outbox.adopt(make_drafts(kind, contents, queue=queue, now=now, first_id=task_id))
        except InvalidInput as error:
            return self.refuse(task_id, kind, queue=queue, reason=str(error))
        if task_id in refused:
            return self._suppressed(task_id, refused[task_id])
        return self.deliver(task_id, worker=worker)

    def _suppressed(self, email_id: str, reason: str) -> Report:
        _log.warning("email %s suppressed: %s", email_id, without_addresses(reason))
        return Report(email_id=email_id, state=State.SUPPRESSED, text=reason)

    def refuse(self, task_id: str, kind: Kind, *, queue: str, reason: str) -> Report:
        """Record a message that can never become an email, as failed.

        Args:
            task_id: the Celery task id; one that is no usable id is recorded under another, always the same.
            queue: where it came from.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        email_id = _usable_id(task_id)
        nothing = Content(user=User(email=""))
        [draft] = make_drafts(kind, [nothing], queue=queue, now=datetime.now(UTC), first_id=email_id)
        reason = reason[:_MAX_REASON]
        self._outbox.adopt_failed(draft, reason=reason)
        text = without_addresses(reason)
        _log.error("email %s (%s) failed: %s", email_id, kind.name, text)
        return Report(email_id=email_id, state=State.FAILED, text=text)

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
        flights: deque[_Flight] = deque()
        try:
            for start in range(0, len(ids), GROUP):
                if time.monotonic() > until:
                    self._claims.give_back(ids[start:], reason="other emails go first")
                    break
                flights.append(self._launch(ids[start : start + GROUP], worker=worker))
                # One group goes out while the next is claimed and the last is recorded.
                if len(flights) > 1:
                    delivered += self._land(flights)
        except LogUnavailable:
            while flights:
                self._land(flights)
            raise
        while flights:
            delivered += self._land(flights)
        return delivered

    def _launch(self, ids: Sequence[str], *, worker: str) -> _Flight:
        tried = [email_id for email_id in ids if not self._breaker.keep_back(email_id)]
        claims = self._take(tried, worker=worker).claims if tried else []
        in_time = [claim for claim in claims if not self._is_expired(claim)]
        return _Flight(claims=in_time, attempts=self._bridge.start(self._attempt_all(in_time)))

    def _land(self, flights: deque[_Flight]) -> int:
        """Wait for the first of the flights and record it; return how many of it went where they should."""
        results = self._wait(flights)
        ended: list[Ended] = []
        for claim, result in zip(flights.popleft().claims, results, strict=True):
            end = None if isinstance(result, BaseException) else self._as_ended(claim, *result)
            if end is None:
                self._conclude(claim, result)
            else:
                ended.append(end)
        self._finish_all(ended)
        return len(ended)

    def _wait(self, flights: Sequence[_Flight]) -> list[_Attempt]:
        claims = [claim for flight in flights for claim in flight.claims]
        try:
            return self._bridge.wait(
                flights[0].attempts,
                every_seconds=self._settings.mailctl_lease_seconds / 3,
                meanwhile=lambda: self._keep(claims),
            )
        except BaseException:
            # A time limit of Celery ends the waiting thread, not what it waits for.
            for flight in flights:
                flight.attempts.cancel()
            raise

    def _as_ended(self, claim: Claim, envelope: Envelope, outcome: Outcome) -> Ended | None:
        """Return what can be recorded together with others: that an email went where it should."""
        state = _DELIVERED.get(outcome.kind)
        if state is None:
            return None
        self._note(outcome)
        self._show_links(claim, envelope, outcome)
        return Ended(claim=claim, state=state, outcome=outcome, message_id=envelope.message_id)

    def _finish_all(self, ended: Sequence[Ended]) -> None:
        if not ended:
            return
        while True:
            try:
                lost = self._claims.finish(ended)
            except LogUnavailable as error:
                _log.error("%d outcomes are not recorded yet: %s", len(ended), error)
                time.sleep(_RECORD_AGAIN_SECONDS)
                continue
            for email_id in lost:
                _log.error("email %s was taken over by another worker meanwhile", email_id)
            return

    def _send(self, claim: Claim) -> Report:
        if self._is_expired(claim):
            return Report(email_id=claim.id, state=State.EXPIRED, text=_TOO_LATE)
        flight = _Flight(claims=[claim], attempts=self._bridge.start(self._attempt_all([claim])))
        [result] = self._wait([flight])
        return self._conclude(claim, result)

    def _is_expired(self, claim: Claim) -> bool:
        if not is_too_late(datetime.now(UTC), claim.expires_at):
            return False
        self._finish(claim, State.EXPIRED, reason=_TOO_LATE)
        return True

    def _conclude(self, claim: Claim, result: _Attempt) -> Report:
        """Record what became of one email.

        Raises:
            BaseException: whatever ended the attempt that is neither the email's fault nor the settings'.
        """
        if isinstance(result, RenderError | InvalidInput):
            return self._finish(claim, State.FAILED, reason=str(result))
        if isinstance(result, ConfigurationError | OSError):
            reason = (
                result.message
                if isinstance(result, MailctlError)
                else f"the message cannot be kept: {result}"
            )
            broken = Outcome(kind=OutcomeKind.CONFIG, reply=SmtpReply(text=reason))
            return self._try_again(claim, broken, message_id=None)
        if isinstance(result, BaseException):
            raise result
        envelope, outcome = result
        self._show_links(claim, envelope, outcome)
        return self._record(claim, outcome, message_id=envelope.message_id)

    async def _attempt_all(self, claims: Sequence[Claim]) -> list[_Attempt]:
        attempts = (self._attempt(claim) for claim in claims)
        return await asyncio.gather(*attempts, return_exceptions=True)

    async def _attempt(self, claim: Claim) -> tuple[Envelope, Outcome]:
        with tracing.span("mailctl.deliver", parent=claim.content.trace) as span:
            span.note(email_id=claim.id, kind=claim.kind, attempt=claim.attempts)
            envelope = await self._compose(claim)
            with tracing.span("mailctl.smtp", is_client=True) as asked:
                outcome = await self._sender.send(envelope)
                asked.note(email_id=claim.id, outcome=outcome.kind, smtp_code=outcome.reply.code)
                if outcome.kind not in _DELIVERED:
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

    def _keep(self, claims: Sequence[Claim]) -> None:
        try:
            self._claims.extend(claims)
        except LogUnavailable as error:
            _log.warning("the leases of %d emails could not be prolonged: %s", len(claims), error)

    def _record(self, claim: Claim, outcome: Outcome, *, message_id: str) -> Report:
        kind = outcome.kind
        if kind is OutcomeKind.FORBIDDEN:
            return self._finish(claim, State.SUPPRESSED, reason=outcome.reply.text)
        circuit = self._note(outcome)
        if kind in _DELIVERED:
            return self._finish(claim, _DELIVERED[kind], outcome=outcome, message_id=message_id)
        if kind is OutcomeKind.BOUNCED:
            reason = f"refused {outcome.with_stage}"
            return self._finish(claim, State.FAILED, outcome=outcome, reason=reason, message_id=message_id)
        if kind is OutcomeKind.AMBIGUOUS and self._settings.mailctl_on_ambiguous == "hold":
            reason = f"held: {MAYBE_SENT} ({outcome})"
            return self._finish(claim, State.HELD, outcome=outcome, reason=reason, message_id=message_id)
        return self._try_again(claim, outcome, message_id=message_id, circuit=circuit)

    def _note(self, outcome: Outcome) -> Circuit | None:
        try:
            return self._breaker.note(outcome)
        except LogUnavailable as error:
            _log.warning("the state of the mail server is not recorded: %s", error)
            return None

    def _try_again(
        self, claim: Claim, outcome: Outcome, *, message_id: str | None, circuit: Circuit | None = None
    ) -> Report:
        decision = decide(
            outcome,
            attempt=claim.attempts,
            now=datetime.now(UTC),
            expires_at=claim.expires_at,
            policy=self._policy,
            jitter=random.random(),  # noqa: S311 - spreads load, hides nothing
            probe_at=circuit.probe_at if circuit else None,
        )
        if isinstance(decision, GiveUp):
            state = State.EXPIRED if decision.expired else State.FAILED
            return self._finish(claim, state, outcome=outcome, reason=decision.reason, message_id=message_id)
        self._persist(
            lambda: self._outbox.defer(
                claim, until=decision.at, outcome=outcome, counts=decision.counts, message_id=message_id
            ),
            claim,
        )
        level = logging.ERROR if outcome.kind is OutcomeKind.CONFIG else logging.WARNING
        text = without_addresses(str(outcome))
        fact = about(claim.id, "email_deferred", trace=claim.content.trace)
        when = f"{decision.at:%H:%M:%S}Z"
        _log.log(level, "email %s deferred until %s: %s", claim.id, when, text, extra=fact)
        return Report(email_id=claim.id, state=State.DEFERRED, text=text)

    def _finish(
        self,
        claim: Claim,
        state: State,
        *,
        outcome: Outcome | None = None,
        reason: str = "",
        message_id: str | None = None,
    ) -> Report:
        self._persist(
            lambda: self._outbox.finish(claim, state, outcome=outcome, reason=reason, message_id=message_id),
            claim,
        )
        text = without_addresses(reason or str(outcome or ""))
        level = logging.ERROR if reason else logging.INFO
        fact = about(claim.id, f"email_{state}", trace=claim.content.trace)
        _log.log(level, "email %s %s: %s", claim.id, state, text, extra=fact)
        return Report(email_id=claim.id, state=state, text=text)

    def _persist(self, record: Callable[[], bool], claim: Claim) -> None:
        """Record an outcome, however long it takes: without it, the email would be sent again."""
        while True:
            try:
                is_recorded = record()
            except LogUnavailable as error:
                _log.error("email %s: its outcome is not recorded yet: %s", claim.id, error)
                time.sleep(_RECORD_AGAIN_SECONDS)
                continue
            if not is_recorded:
                _log.error("email %s was taken over by another worker meanwhile", claim.id)
            return

    def _show_links(self, claim: Claim, envelope: Envelope, outcome: Outcome) -> None:
        """In development a captured email's links are for clicking."""
        if outcome.kind is OutcomeKind.CAPTURED and self._settings.debug:
            for name, url in envelope.links.items():
                _log.info("email %s %s: %s", claim.id, name, url, extra=about(claim.id, "link_shown"))


def _usable_id(task_id: object) -> str:
    try:
        return inputs.email_id(task_id)
    except InvalidInput:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, ascii(task_id)))
