"""Doing something to emails, named or found: a plan first, then each by itself, and what became of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from mailctl.diagnosis.eligibility_checker import EligibilityChecker
from mailctl.domain.eligibility import HOLD, RELEASE, RESEND, Hazard
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import State
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mailctl.delivery_log.operator_actions import AuditInfo
    from mailctl.domain.eligibility import Action, EligibilityResult
    from mailctl.domain.models import Email
    from mailctl.operations.selection import Selection
    from mailctl.runtime import Runtime

#: Emails that a plan shows.
_SAMPLE_SIZE = 5


class ActionOutcome(StrEnum):
    """What became of an email, or would."""

    DONE = "done"
    PLANNED = "would be done"
    LEFT_OUT = "left out"  #: it could be done, but something speaks against it
    IMPOSSIBLE = "not possible"
    UNKNOWN = "unknown"  #: nobody knows it
    AMBIGUOUS = "ambiguous"  #: what was given is the start of several ids


@dataclass(frozen=True, kw_only=True)
class ActionResult:
    """One email, and what became of it."""

    #: Its id, or what was given for one.
    id: str
    email: Email | None
    outcome: ActionOutcome
    #: Why it was not done, in words that fit others, too; "" where it was.
    reason: str = ""
    #: What does instead for this one; "" if there is nothing to say.
    fix: str = ""
    hazards: tuple[Hazard, ...] = ()
    #: The email that was made of it.
    new_id: str | None = None

    @property
    def explanation(self) -> str:
        """Why it was not done, and what does instead."""
        return "; ".join(part for part in (self.reason, self.fix) if part)


@dataclass(frozen=True, kw_only=True)
class ActionRequest:
    """What is to be done, and how far it goes."""

    action: Action
    audit: AuditInfo
    #: What speaks against an email and shall not count.
    include: frozenset[Hazard] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would be done."""

    #: How many would be done.
    count: int
    sample: tuple[Email, ...]
    #: The short ids of those in the sample.
    short_ids: Mapping[str, str] = field(default_factory=dict)
    #: Of those that would be done: how many are in each state.
    states: Counter[State] = field(default_factory=Counter)
    #: How many are left out or not possible, by the reason.
    skipped_by_reason: Counter[str] = field(default_factory=Counter)


class BulkAction:
    """Carries out what an operator wishes.

    Args:
        runtime: the parts of this process.
        wish: what that is.
    """

    def __init__(self, runtime: Runtime, wish: ActionRequest) -> None:
        self._runtime = runtime
        self._request = wish
        self._action = wish.action
        self._enqueuer = Enqueuer(runtime)
        self._eligibility = EligibilityChecker(runtime)
        #: Why the broker has not got what goes out; "" if it has, or need not.
        self.broker_error = ""
        #: How many were stopped whose messages are on the broker.
        self.stopped_on_broker = 0

    def plan(self, selection: Selection, *, seen: Callable[[int], None] = lambda _: None) -> Plan:
        """Return what would be done, and do nothing.

        Args:
            seen: is called with how many more emails were looked at.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        sample: list[Email] = []
        states: Counter[State] = Counter()
        others: Counter[str] = Counter()
        for result in self.dry_run(selection):
            seen(1)
            if result.outcome is ActionOutcome.PLANNED and result.email is not None:
                states[result.email.state] += 1
                sample += [result.email] if len(sample) < _SAMPLE_SIZE else []
            else:
                others[result.reason] += 1
        short_ids = self._runtime.history.short_ids(email.id for email in sample)
        return Plan(
            count=states.total(),
            sample=tuple(sample),
            short_ids=short_ids,
            states=states,
            skipped_by_reason=others,
        )

    def dry_run(self, selection: Selection) -> Iterator[ActionResult]:
        """Go through the emails and say what would become of each.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        yield from _unresolved_results(selection)
        for chunk in selection.chunks(self._runtime.engine):
            for email, judgement in self._check(chunk):
                yield self._result(email, judgement)

    def execute(
        self, selection: Selection, *, is_stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[ActionResult]:
        """Do it, and say what became of each email; what somebody else took meanwhile is told, not taken.

        Args:
            is_stopped: is asked before each transaction whether to leave the rest alone.

        Raises:
            LogUnavailable: the delivery log cannot be used; what was told before is done.
        """
        yield from _unresolved_results(selection)
        for chunk in selection.chunks(self._runtime.engine):
            if is_stopped():
                return
            judged = {email.id: (email, judgement) for email, judgement in self._check(chunk)}
            willing = [self._result(*each) for each in judged.values()]
            done = self._apply(
                [judged[result.id] for result in willing if result.outcome is ActionOutcome.PLANNED]
            )
            # Those of campaigns are a relay's: they travel in batches.
            self._publish([new or old for old, new in done.items() if new or not judged[old][0].campaign])
            for result in willing:
                if result.id in done:
                    self._count_stopped(judged[result.id][0])
                    yield replace(result, outcome=ActionOutcome.DONE, new_id=done[result.id])
                elif result.outcome is ActionOutcome.PLANNED:
                    yield self._recheck(result)
                else:
                    yield result

    @property
    def may_still_be_sent(self) -> bool:
        """Whether what was stopped may go out all the same: nobody who is alive asks this log."""
        settings = self._runtime.settings
        is_private = settings.uses_memory_broker and not settings.mailctl_app
        return bool(self.stopped_on_broker) and not is_private and not self._runtime.workers.list_alive()

    def _count_stopped(self, email: Email) -> None:
        if self._action.is_stop and email.state is State.QUEUED:
            self.stopped_on_broker += 1

    def _check(self, chunk: Sequence[Email]) -> list[tuple[Email, EligibilityResult]]:
        return self._eligibility.check(self._action, chunk, include=self._request.include)

    def _result(self, email: Email, judgement: EligibilityResult) -> ActionResult:
        hazards = tuple(sorted(judgement.hazards))
        left = judgement.describe_blocking_hazards(self._request.include)
        verdict = (
            ActionOutcome.IMPOSSIBLE
            if judgement.obstacle
            else ActionOutcome.LEFT_OUT
            if left
            else ActionOutcome.PLANNED
        )
        reason = judgement.obstacle or left
        return ActionResult(
            id=email.id, email=email, outcome=verdict, reason=reason, fix=judgement.fix, hazards=hazards
        )

    def _recheck(self, result: ActionResult) -> ActionResult:
        """Say why an email was not done that seemed fit a moment ago."""
        found = self._runtime.history.find(result.id, limit=1)
        now = [self._result(*each) for each in self._check(found)]
        if now and now[0].outcome is not ActionOutcome.PLANNED:
            return now[0]
        return replace(result, outcome=ActionOutcome.IMPOSSIBLE, reason="it changed meanwhile")

    def _apply(self, judged: Sequence[tuple[Email, EligibilityResult]]) -> dict[str, str | None]:
        """Return the ids of the emails that it was done to, each with that of a new one if it was made."""
        if self._action is RESEND:
            return {email.id: new for email, _ in judged if (new := self._resend(email))}
        done: set[str] = set()
        for lifetime_of, ids in self._group_by_new_lifetime(judged).items():
            done |= self._apply_to_ids(ids, lifetime_of=lifetime_of)
        return dict.fromkeys(done)

    @property
    def _is_forced(self) -> bool:
        """Whether neither suppression nor limits keep back what goes out."""
        return Hazard.SUPPRESSED in self._request.include

    def _group_by_new_lifetime(
        self, judged: Sequence[tuple[Email, EligibilityResult]]
    ) -> dict[str | None, list[str]]:
        """Group emails by the kind whose lifetime they get anew; None for those that keep theirs."""
        groups: dict[str | None, list[str]] = {}
        for email, judgement in judged:
            groups.setdefault(email.kind if Hazard.USELESS in judgement.hazards else None, []).append(
                email.id
            )
        return groups

    def _apply_to_ids(self, ids: Sequence[str], *, lifetime_of: str | None) -> frozenset[str]:
        actions, action, audit = self._runtime.actions, self._action, self._request.audit
        if action.is_stop:
            target = State.HELD if action is HOLD else State.CANCELLED
            return actions.stop(
                ids, target, from_states=action.allowed_states, done=action.past_participle, audit=audit
            )
        again = Hazard.RESENT in self._request.include
        if action is RELEASE:
            return actions.release(ids, from_states=action.allowed_states, audit=audit, again=again)
        lifetime = (
            self._runtime.catalog.get_recorded(lifetime_of).lifetime if lifetime_of is not None else None
        )
        return actions.retry(
            ids,
            from_states=action.allowed_states,
            audit=audit,
            lifetime=lifetime,
            is_forced=self._is_forced,
            again=again,
        )

    def _resend(self, email: Email) -> str | None:
        content = self._runtime.outbox.content(email.id)
        if content is None:
            return None
        kind = self._runtime.catalog.get_recorded(email.kind)
        queue = self._enqueuer.queue_for(kind)
        request = EmailRequest(kind=kind, forced_by=self._request.audit.actor if self._is_forced else None)
        [draft] = make_drafts(request, [content], queue=queue, now=datetime.now(UTC))
        again = Hazard.RESENT in self._request.include
        is_done = self._runtime.actions.resend(
            email.id, draft, from_states=self._action.allowed_states, audit=self._request.audit, again=again
        )
        return draft.id if is_done else None

    def _publish(self, ids: Sequence[str]) -> None:
        """Put on the broker what goes out, where no relay does it: no worker that shares the log is alive."""
        if self._action.is_stop or not ids or self.broker_error:
            return
        if self._runtime.workers.list_alive():
            return
        try:
            self._enqueuer.publish(ids)
        except BrokerUnavailable as error:
            self.broker_error = error.message


def _unresolved_results(selection: Selection) -> Iterator[ActionResult]:
    for given, reason in selection.unknown:
        yield ActionResult(id=given, email=None, outcome=ActionOutcome.UNKNOWN, reason=reason)
    for given, reason in selection.ambiguous:
        yield ActionResult(id=given, email=None, outcome=ActionOutcome.AMBIGUOUS, reason=reason)
