"""What became of attempts, recorded: for one email, or for those of a group together."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.domain.models import (
    MAYBE_SENT,
    Claim,
    DeliveredClaim,
    Envelope,
    Outcome,
    OutcomeKind,
    SmtpReply,
    State,
)
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.retry_policy import GiveUp, decide_retry, is_too_late
from mailctl.errors import ConfigurationError, InvalidInput, LogUnavailable, MailctlError, RenderError
from mailctl.json_logging import log_extra
from mailctl.redaction import mask_addresses_in_text
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailctl.delivery_log.circuits import Circuit
    from mailctl.runtime import Runtime
    from mailctl.worker.circuit_breaker import CircuitBreaker

_log = logging.getLogger("mailctl.delivery")

#: Seconds between attempts to record an outcome while the delivery log does not answer.
_RECORD_RETRY_SECONDS = 1.0
#: The outcomes of emails that went where they should, and the states of these.
DELIVERED_STATE_BY_KIND = {OutcomeKind.ACCEPTED: State.SENT, OutcomeKind.CAPTURED: State.CAPTURED}
_TOO_LATE = "it expired before it could be sent"

#: A finished message and what became of it, or what ended the attempt.
AttemptResult = tuple[Envelope, Outcome] | BaseException


@dataclass(frozen=True, kw_only=True)
class DeliveryResult:
    """What a task did for an email; `state` is None if there was nothing to do."""

    email_id: str
    state: State | None
    #: For the worker's log and the Celery result: no address in it can be read.
    text: str = ""


class OutcomeRecorder:
    """Records what became of claimed emails, however long the delivery log does not answer.

    Args:
        runtime: the parts of this process.
        breaker: learns of each outcome.
    """

    def __init__(self, runtime: Runtime, breaker: CircuitBreaker) -> None:
        self._results = runtime.attempt_results
        self._settings = runtime.settings
        self._policy = runtime.retry_policy
        self._breaker = breaker

    def expire_if_too_late(self, claim: Claim) -> DeliveryResult | None:
        """End an email whose links have died meanwhile; return None if they have not."""
        if not is_too_late(datetime.now(UTC), claim.expires_at):
            return None
        reason = Reason(code=ReasonCode.EXPIRED, text=_TOO_LATE)
        return self._finish(claim, State.EXPIRED, reason=reason)

    def record(self, claim: Claim, result: AttemptResult) -> DeliveryResult:
        """Record what became of one email.

        Raises:
            BaseException: whatever ended the attempt that is neither the email's fault nor the settings'.
        """
        if isinstance(result, RenderError | InvalidInput):
            reason = Reason(code=ReasonCode.NOT_COMPOSED, text=str(result))
            return self._finish(claim, State.FAILED, reason=reason)
        if isinstance(result, ConfigurationError | OSError):
            text = (
                result.message
                if isinstance(result, MailctlError)
                else f"the message cannot be kept: {result}"
            )
            broken = Outcome(kind=OutcomeKind.CONFIG, reply=SmtpReply(text=text))
            return self._defer_or_give_up(claim, broken, message_id=None)
        if isinstance(result, BaseException):
            raise result
        envelope, outcome = result
        self._log_links(claim, envelope, outcome)
        return self._record_outcome(claim, outcome, message_id=envelope.message_id)

    def record_all(self, claims: Sequence[Claim], results: Sequence[AttemptResult]) -> int:
        """Record what became of the emails of a group, delivered ones together; return how many those are.

        Raises:
            BaseException: as `conclude`.
        """
        ended: list[DeliveredClaim] = []
        for claim, result in zip(claims, results, strict=True):
            end = None if isinstance(result, BaseException) else self._as_delivered(claim, *result)
            if end is None:
                self.record(claim, result)
            else:
                ended.append(end)
        self._finish_all(ended)
        return len(ended)

    def _as_delivered(self, claim: Claim, envelope: Envelope, outcome: Outcome) -> DeliveredClaim | None:
        """Return what can be recorded together with others: that an email went where it should."""
        state = DELIVERED_STATE_BY_KIND.get(outcome.kind)
        if state is None:
            return None
        self._update_breaker(outcome)
        self._log_links(claim, envelope, outcome)
        return DeliveredClaim(claim=claim, state=state, outcome=outcome, message_id=envelope.message_id)

    def _finish_all(self, ended: Sequence[DeliveredClaim]) -> None:
        if not ended:
            return
        while True:
            try:
                lost = self._results.finish_delivered(ended)
            except LogUnavailable as error:
                _log.error("%d outcomes are not recorded yet: %s", len(ended), error)
                time.sleep(_RECORD_RETRY_SECONDS)
                continue
            for email_id in lost:
                _log.error("email %s was taken over by another worker meanwhile", email_id)
            return

    def _record_outcome(self, claim: Claim, outcome: Outcome, *, message_id: str) -> DeliveryResult:
        kind = outcome.kind
        if kind is OutcomeKind.FORBIDDEN:
            reason = Reason(code=ReasonCode.NOT_ALLOWED, text=outcome.reply.text)
            return self._finish(claim, State.SUPPRESSED, reason=reason)
        circuit = self._update_breaker(outcome)
        if kind in DELIVERED_STATE_BY_KIND:
            return self._finish(claim, DELIVERED_STATE_BY_KIND[kind], outcome=outcome, message_id=message_id)
        if kind is OutcomeKind.BOUNCED:
            reason = Reason(code=ReasonCode.REFUSED, text=f"refused {outcome.text_with_stage}")
            return self._finish(claim, State.FAILED, outcome=outcome, reason=reason, message_id=message_id)
        if kind is OutcomeKind.AMBIGUOUS and self._settings.mailctl_on_ambiguous == "hold":
            reason = Reason(code=ReasonCode.NO_REPLY, text=f"held: {MAYBE_SENT} ({outcome})")
            return self._finish(claim, State.HELD, outcome=outcome, reason=reason, message_id=message_id)
        return self._defer_or_give_up(claim, outcome, message_id=message_id, circuit=circuit)

    def _update_breaker(self, outcome: Outcome) -> Circuit | None:
        try:
            return self._breaker.record_outcome(outcome)
        except LogUnavailable as error:
            _log.warning("the state of the mail server is not recorded: %s", error)
            return None

    def _defer_or_give_up(
        self, claim: Claim, outcome: Outcome, *, message_id: str | None, circuit: Circuit | None = None
    ) -> DeliveryResult:
        decision = decide_retry(
            outcome,
            attempt=claim.attempts,
            now=datetime.now(UTC),
            expires_at=claim.expires_at,
            policy=self._policy,
            jitter=random.random(),  # noqa: S311 - spreads load, hides nothing
            probe_at=circuit.probe_at if circuit else None,
        )
        if isinstance(decision, GiveUp):
            state, code = State.FAILED, ReasonCode.OUT_OF_ATTEMPTS
            if decision.is_expired:
                state, code = State.EXPIRED, ReasonCode.WOULD_EXPIRE
            reason = Reason(code=code, text=decision.reason)
            return self._finish(claim, state, outcome=outcome, reason=reason, message_id=message_id)
        self._record_until_successful(
            lambda: self._results.defer(
                claim,
                until=decision.at,
                outcome=outcome,
                counts_as_attempt=decision.counts_as_attempt,
                message_id=message_id,
            ),
            claim,
        )
        level = logging.ERROR if outcome.kind is OutcomeKind.CONFIG else logging.WARNING
        text = mask_addresses_in_text(str(outcome))
        fact = log_extra(claim.id, "email_deferred", trace=claim.content.trace)
        when = format_time(decision.at, TimeStyle.CLOCK)
        _log.log(level, "email %s deferred until %s: %s", claim.id, when, text, extra=fact)
        return DeliveryResult(email_id=claim.id, state=State.DEFERRED, text=text)

    def _finish(
        self,
        claim: Claim,
        state: State,
        *,
        outcome: Outcome | None = None,
        reason: Reason | None = None,
        message_id: str | None = None,
    ) -> DeliveryResult:
        self._record_until_successful(
            lambda: self._results.finish(claim, state, outcome=outcome, reason=reason, message_id=message_id),
            claim,
        )
        text = mask_addresses_in_text(reason.text if reason else str(outcome or ""))
        level = logging.ERROR if reason else logging.INFO
        fact = log_extra(claim.id, f"email_{state}", trace=claim.content.trace)
        _log.log(level, "email %s %s: %s", claim.id, state, text, extra=fact)
        return DeliveryResult(email_id=claim.id, state=state, text=text)

    def _record_until_successful(self, record: Callable[[], bool], claim: Claim) -> None:
        """Record an outcome, however long it takes: without it, the email would be sent again."""
        while True:
            try:
                is_recorded = record()
            except LogUnavailable as error:
                _log.error("email %s: its outcome is not recorded yet: %s", claim.id, error)
                time.sleep(_RECORD_RETRY_SECONDS)
                continue
            if not is_recorded:
                _log.error("email %s was taken over by another worker meanwhile", claim.id)
            return

    def _log_links(self, claim: Claim, envelope: Envelope, outcome: Outcome) -> None:
        """In development a captured email's links are for clicking."""
        if outcome.kind is OutcomeKind.CAPTURED and self._settings.debug:
            for name, url in envelope.links.items():
                _log.info("email %s %s: %s", claim.id, name, url, extra=log_extra(claim.id, "link_shown"))
