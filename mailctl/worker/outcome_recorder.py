"""Records outcomes in the delivery log: for one email, or for a group of emails together."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from mailctl.domain import unicode_safety
from mailctl.domain.models import MAYBE_SENT, Claim, Content, Deferral, Envelope, SentClaim
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.retry_policy import GiveUp, decide_retry, is_too_late, may_resend_in_doubt
from mailctl.domain.states import State
from mailctl.errors import ConfigurationError, InvalidInput, LeaseEnded, LogUnavailable, RenderError
from mailctl.json_logging import log_extra
from mailctl.security.address_masking import mask_addresses_in_text
from mailctl.security.content_masking import SecretMasker
from mailctl.smtp.dispatch_signal import signal_dispatched
from mailctl.timefmt import TimeStyle, format_time, pluralize
from mailctl.worker.outcome_retries import repeat_until_recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailctl.delivery_log.circuits import Circuit
    from mailctl.domain.retry_policy import RetryAt
    from mailctl.runtime import Runtime
    from mailctl.worker.circuit_breaker import CircuitBreaker
    from mailctl.worker.server_choice import ServerChoice

_log = logging.getLogger("mailctl.delivery")

#: The outcomes of emails that were sent or captured, and the state of an email with each.
SENT_STATE_BY_KIND = {OutcomeKind.ACCEPTED: State.SENT, OutcomeKind.CAPTURED: State.CAPTURED}
#: Characters of a reason that are recorded; the publisher of the message may have chosen them.
_MAX_REASON_LENGTH = 500
_TOO_LATE = "it expired before it could be sent"

#: The outcomes that many emails may have at the same time, which are recorded together.
_OFTEN_TOGETHER = frozenset({*SENT_STATE_BY_KIND, OutcomeKind.DEFERRED})
_NOT_RECORDED = "email %s: its outcome cannot be recorded (%s)"
_LOST_LEASE = "another worker has claimed email %s in the meantime"

_T = TypeVar("_T")
_R = TypeVar("_R", SentClaim, Deferral)

#: The composed message and its outcome, or the exception that ended the attempt.
AttemptResult = tuple[Envelope, Outcome] | BaseException


@dataclass(frozen=True, kw_only=True)
class DeliveryResult:
    """The result of a delivery."""

    email_id: str
    #: None if there was nothing to do.
    state: State | None
    #: The text for the worker's log and the Celery result, with addresses masked.
    text: str = ""


class OutcomeRecorder:
    """Records the outcomes of claimed emails, and retries as long as the delivery log does not answer.

    Args:
        runtime: the parts of this process.
        breaker: the circuits of the mail servers, which are updated with each outcome.
    """

    def __init__(self, runtime: Runtime, breaker: CircuitBreaker | ServerChoice) -> None:
        self._clock = runtime.clock
        self._results = runtime.attempt_results
        self._history = runtime.history
        self._settings = runtime.settings
        self._policy = runtime.retry_policy
        self._breaker = breaker

    def expire_if_too_late(self, claim: Claim) -> DeliveryResult | None:
        """Expire an email whose links have expired, and return its result; None if they have not."""
        if not is_too_late(self._clock(), claim.expires_at):
            return None
        reason = Reason(code=ReasonCode.EXPIRED, text=_TOO_LATE)
        return self._finish(claim, State.EXPIRED, reason=reason)

    def record(self, claim: Claim, result: AttemptResult) -> DeliveryResult:
        """Record the outcome of one email, and return its result.

        Raises:
            BaseException: the exception that ended the attempt, unless the email or the settings caused it.
        """
        if isinstance(result, RenderError | InvalidInput):
            reason = Reason(code=ReasonCode.NOT_COMPOSED, text=str(result))
            return self._finish(claim, State.FAILED, reason=reason)
        if isinstance(result, ConfigurationError | OSError):
            text = result.message if isinstance(result, ConfigurationError) else _file_error(result)
            outcome = Outcome(kind=OutcomeKind.CONFIG, reply=SmtpReply(text=text))
            return self._defer_or_give_up(claim, outcome, message_id=None)
        if isinstance(result, asyncio.CancelledError):
            return self._defer_or_give_up(claim, interrupted(has_begun=False), message_id=None)
        if isinstance(result, LeaseEnded):
            return self._let_go(claim)
        if isinstance(result, BaseException):
            raise result
        envelope, outcome = result
        self._log_links(claim, envelope, outcome)
        recorded = self._record_outcome(claim, outcome, message_id=envelope.message_id)
        if outcome.kind is OutcomeKind.ACCEPTED:
            signal_dispatched(envelope)
        return recorded

    def record_all(self, claims: Sequence[Claim], results: Sequence[AttemptResult]) -> list[DeliveryResult]:
        """Record the outcomes of several emails.

        First those of sent and captured ones, in one transaction; at last those of deferred ones, in another.

        Returns:
            The results; without those of attempts that an unexpected error ended, or whose outcomes the log
            does not take: their leases run out.
        """
        attempts = list(zip(claims, results, strict=True))
        recorded = self._record_sent([sent for each in attempts if (sent := _as_sent(*each))])
        deferrals: list[Deferral] = []
        for claim, result in attempts:
            if isinstance(result, BaseException) or result[1].kind not in _OFTEN_TOGETHER:
                recorded += self._record_or_log(claim, result)
            elif _as_sent(claim, result) is not None:
                self._follow_up(claim, *result)
            else:
                deferrals += self._as_deferrals(claim, *result, ended=recorded)
        return recorded + self._record_deferrals(deferrals)

    def _as_deferrals(
        self, claim: Claim, envelope: Envelope, outcome: Outcome, *, ended: list[DeliveryResult]
    ) -> list[Deferral]:
        """Return the record of an email that is tried again; one that is not, is recorded, and added."""
        # The circuit may decide the time, and is updated before the next email is judged.
        decision = self._decide(claim, outcome, circuit=self._update_breaker(outcome))
        if not isinstance(decision, GiveUp):
            return [_deferral(claim, outcome, decision, message_id=envelope.message_id)]
        try:
            ended.append(self._give_up(claim, outcome, decision, message_id=envelope.message_id))
        except Exception as error:  # without the traceback, which may quote the email
            _log.error(_NOT_RECORDED, claim.id, type(error).__name__)
        return []

    def _record_deferrals(self, deferrals: Sequence[Deferral]) -> list[DeliveryResult]:
        """Record emails that are tried again; one that cannot be recorded does not block the others."""
        recorded = _record_together(deferrals, lambda some: self._defer(*some))
        return [_log_deferral(each) for each in recorded]

    def _record_or_log(self, claim: Claim, result: AttemptResult) -> list[DeliveryResult]:
        try:
            return [self.record(claim, result)]
        except Exception as error:  # without the traceback, which may quote the email
            _log.error("email %s: its attempt failed (%s)", claim.id, type(error).__name__)
        return []

    def _record_sent(self, sent: Sequence[SentClaim]) -> list[DeliveryResult]:
        """Record emails that were sent or captured; one that cannot be recorded does not block the others."""
        return [_result_of(each) for each in _record_together(sent, self._finish_all)]

    def _follow_up(self, claim: Claim, envelope: Envelope, outcome: Outcome) -> None:
        """Do what follows from an email that was sent or captured, once that is recorded."""
        self._update_breaker(outcome)
        self._log_links(claim, envelope, outcome)
        if outcome.kind is OutcomeKind.ACCEPTED:
            signal_dispatched(envelope)

    def _finish_all(self, sent: Sequence[SentClaim]) -> None:
        what = f"the outcomes of {pluralize(len(sent), 'email')}"
        for email_id in repeat_until_recorded(lambda: self._results.finish_sent(sent), what):
            _log.error(_LOST_LEASE, email_id)

    def _record_outcome(self, claim: Claim, outcome: Outcome, *, message_id: str) -> DeliveryResult:
        kind = outcome.kind
        if kind is OutcomeKind.FORBIDDEN:
            reason = Reason(code=ReasonCode.NOT_ALLOWED, text=outcome.reply.text)
            return self._finish(claim, State.SUPPRESSED, reason=reason)
        circuit = self._update_breaker(outcome)
        if kind in SENT_STATE_BY_KIND:
            return self._finish(claim, SENT_STATE_BY_KIND[kind], outcome=outcome, message_id=message_id)
        if kind is OutcomeKind.REFUSED:
            reason = Reason(code=ReasonCode.REFUSED, text=outcome.text_after("refused"))
            return self._finish(claim, State.FAILED, outcome=outcome, reason=reason, message_id=message_id)
        if kind is OutcomeKind.AMBIGUOUS and not self._may_resend(claim):
            reason = Reason(code=ReasonCode.NO_REPLY, text=f"{MAYBE_SENT} ({outcome})")
            return self._finish(claim, State.HELD, outcome=outcome, reason=reason, message_id=message_id)
        return self._defer_or_give_up(claim, outcome, message_id=message_id, circuit=circuit)

    def _may_resend(self, claim: Claim) -> bool:
        """Whether an email that the mail server may have is sent again, and not held for an operator."""
        most = self._settings.resends_in_doubt
        if not most:
            return False
        events = _repeat(lambda: self._history.events(claim.id), claim)
        return may_resend_in_doubt(events, most=most)

    def _let_go(self, claim: Claim) -> DeliveryResult:
        """Return an email to the log whose lease ended before its body was handed over."""
        _repeat(lambda: self._results.let_go(claim), claim)
        text = "not handed over: its lease has ended"
        _log.warning("email %s %s", claim.id, text, extra=log_extra(claim.id, "email_let_go"))
        return DeliveryResult(email_id=claim.id, state=State.PENDING, text=text)

    def _update_breaker(self, outcome: Outcome) -> Circuit | None:
        """Update the circuit, and return it if it is open; an error there loses no outcome of an email."""
        try:
            return self._breaker.record_outcome(outcome)
        except LogUnavailable as error:
            _log.warning("cannot record the state of the mail server: %s", error)
        except Exception as error:
            _log.error("cannot record the state of the mail server (%s)", type(error).__name__)
        return None

    def _defer_or_give_up(
        self, claim: Claim, outcome: Outcome, *, message_id: str | None, circuit: Circuit | None = None
    ) -> DeliveryResult:
        decision = self._decide(claim, outcome, circuit=circuit)
        if isinstance(decision, GiveUp):
            return self._give_up(claim, outcome, decision, message_id=message_id)
        deferral = _deferral(claim, outcome, decision, message_id=message_id)
        self._defer(deferral)
        return _log_deferral(deferral)

    def _decide(self, claim: Claim, outcome: Outcome, *, circuit: Circuit | None) -> RetryAt | GiveUp:
        now = self._clock()
        return decide_retry(
            outcome,
            attempt=claim.attempts,
            now=now,
            expires_at=claim.expires_at,
            policy=self._policy,
            jitter=random.random(),  # noqa: S311 - spreads load, hides nothing
            age=now - claim.created_at,
            probe_at=circuit.probe_at if circuit and circuit.is_open else None,
        )

    def _give_up(
        self, claim: Claim, outcome: Outcome, decision: GiveUp, *, message_id: str | None
    ) -> DeliveryResult:
        state, code = State.FAILED, ReasonCode.OUT_OF_ATTEMPTS
        if decision.is_expired:
            state, code = State.EXPIRED, ReasonCode.WOULD_EXPIRE
        reason = Reason(code=code, text=decision.reason)
        return self._finish(claim, state, outcome=outcome, reason=reason, message_id=message_id)

    def _defer(self, *deferrals: Deferral) -> None:
        what = f"the outcomes of {pluralize(len(deferrals), 'email')}"
        for email_id in repeat_until_recorded(lambda: self._results.defer(*deferrals), what):
            _log.error(_LOST_LEASE, email_id)

    def _finish(
        self,
        claim: Claim,
        state: State,
        *,
        outcome: Outcome | None = None,
        reason: Reason | None = None,
        message_id: str | None = None,
    ) -> DeliveryResult:
        if not _repeat(
            lambda: self._results.finish(claim, state, outcome=outcome, reason=reason, message_id=message_id),
            claim,
        ):
            _log.error(_LOST_LEASE, claim.id)
        text = mask_addresses_in_text(reason.text if reason else str(outcome or ""))
        level = logging.ERROR if reason else logging.INFO
        fields = log_extra(claim.id, f"email_{state}", trace=claim.content.trace)
        _log.log(level, "email %s %s: %s", claim.id, state, text, extra=fields)
        return DeliveryResult(email_id=claim.id, state=state, text=text)

    def _log_links(self, claim: Claim, envelope: Envelope, outcome: Outcome) -> None:
        """Log the links of a captured email in development, where a developer clicks them."""
        if outcome.kind is OutcomeKind.CAPTURED and self._settings.debug:
            for name, url in envelope.links.items():
                _log.info("email %s %s: %s", claim.id, name, url, extra=log_extra(claim.id, "link_shown"))


def _record_together(results: Sequence[_R], record: Callable[[Sequence[_R]], object]) -> Sequence[_R]:
    """Record results together, or one by one if that fails; return those that were recorded."""
    if not results:
        return []
    try:
        record(results)
    except Exception as error:  # without the traceback, which may quote the email
        if len(results) > 1:
            return [one for each in results for one in _record_together([each], record)]
        [failed] = results
        _log.error(_NOT_RECORDED, failed.claim.id, type(error).__name__)
        return []
    return results


def _as_sent(claim: Claim, result: AttemptResult) -> SentClaim | None:
    """Return the record of an email that was sent or captured; None for any other result."""
    if isinstance(result, BaseException):
        return None
    envelope, outcome = result
    state = SENT_STATE_BY_KIND.get(outcome.kind)
    if state is None:
        return None
    return SentClaim(claim=claim, state=state, outcome=outcome, message_id=envelope.message_id)


def _deferral(claim: Claim, outcome: Outcome, decision: RetryAt, *, message_id: str | None) -> Deferral:
    return Deferral(
        claim=claim,
        until=decision.at,
        outcome=outcome,
        counts_as_attempt=decision.counts_as_attempt,
        message_id=message_id,
    )


def _log_deferral(deferral: Deferral) -> DeliveryResult:
    """Log that an email is tried again, and return its result."""
    claim, outcome = deferral.claim, deferral.outcome
    # What a mail server refuses for a fault of ours is reported once, when its circuit opens.
    is_local = outcome.kind is OutcomeKind.CONFIG and not outcome.stage
    level = logging.ERROR if is_local else logging.WARNING
    text = mask_addresses_in_text(str(outcome))
    fields = log_extra(claim.id, "email_deferred", trace=claim.content.trace)
    when = format_time(deferral.until, TimeStyle.CLOCK)
    _log.log(level, "email %s deferred until %s: %s", claim.id, when, text, extra=fields)
    return DeliveryResult(email_id=claim.id, state=State.DEFERRED, text=text)


def _result_of(sent: SentClaim) -> DeliveryResult:
    text = mask_addresses_in_text(str(sent.outcome))
    return DeliveryResult(email_id=sent.claim.id, state=sent.state, text=text)


def interrupted(*, has_begun: bool) -> Outcome:
    """Return the outcome of an attempt that was interrupted, as by a time limit of Celery.

    Args:
        has_begun: whether the mail server may have the body.
    """
    reply = SmtpReply(text="the attempt was interrupted by a time limit, or because the worker was stopped")
    if has_begun:
        return Outcome(kind=OutcomeKind.AMBIGUOUS, reply=reply, stage="body")
    return Outcome(kind=OutcomeKind.INTERRUPTED, reply=reply)


def _repeat(call: Callable[[], _T], claim: Claim) -> _T:
    return repeat_until_recorded(call, f"the outcome of email {claim.id}")


def _file_error(error: BaseException) -> str:
    return f"the message cannot be stored: {error}"


def without_links(outcome: Outcome, envelope: Envelope, content: Content) -> Outcome:
    """Return an outcome whose reply does not quote the links and tokens of the email."""
    reply = outcome.reply
    if outcome.kind in SENT_STATE_BY_KIND or not reply.text:
        return outcome
    text = SecretMasker(content, envelope.links.values()).mask_known(reply.text)
    return outcome if text == reply.text else replace(outcome, reply=replace(reply, text=text))


def as_reason(text: str) -> str:
    """Return a reason for a row of the log: one line of limited length."""
    return unicode_safety.escape_controls_as_line(text[:_MAX_REASON_LENGTH])
