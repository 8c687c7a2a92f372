"""Bulk actions on selected emails: plan, dry run, execution, and the result for each email."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl.diagnosis.eligibility_checker import EligibilityChecker
from mailctl.domain.catalog import effective_kind
from mailctl.domain.eligibility import HOLD, RELEASE, RESEND, Hazard
from mailctl.domain.factory import make_drafts
from mailctl.domain.link_expiry import given_links_expiry
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import BrokerUnavailable
from mailctl.operations.action_models import (
    ActionBatch,
    ActionOutcome,
    ActionPlan,
    ActionRequest,
    ActionResult,
    plan_result,
)
from mailctl.operations.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from mailctl.delivery_log.queries.search import EmailFilter
    from mailctl.domain.catalog import Kind
    from mailctl.domain.eligibility import EligibilityResult
    from mailctl.domain.models import Content, Email
    from mailctl.runtime import Runtime

#: The number of emails that are stopped in one transaction.
STOP_BATCH_SIZE = 2000
#: The number of emails in the sample of a plan.
_SAMPLE_SIZE = 5


class BulkAction:
    """Carries out an action on selected emails.

    Args:
        runtime: the components of this process.
        request: the action, with its options.
    """

    def __init__(self, runtime: Runtime, request: ActionRequest) -> None:
        self._runtime = runtime
        self._request = request
        self._action = request.action
        self._enqueuer = Enqueuer(runtime)
        self._eligibility = EligibilityChecker(runtime)
        #: Why emails could not be published; "" if they were, or need not be.
        self.broker_error = ""
        #: The number of stopped emails whose messages are on the broker.
        self.stopped_on_broker = 0

    def plan(self, selection: Selection, *, seen: Callable[[int], None] = lambda _: None) -> ActionPlan:
        """Return a summary of what the action would do; change nothing.

        Args:
            selection: the emails.
            seen: called with the number of emails checked since the last call.

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
        return ActionPlan(
            count=states.total(),
            sample=tuple(sample),
            short_ids=short_ids,
            states=states,
            skipped_by_reason=others,
        )

    def dry_run(self, selection: Selection) -> Iterator[ActionResult]:
        """Yield for each email what the action would do; change nothing.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        yield from _unresolved_results(selection)
        for chunk in selection.chunks(self._runtime.engine):
            for email, eligibility in self._check(chunk):
                yield plan_result(email, eligibility, include=self._request.include)

    def execute(
        self, selection: Selection, *, is_stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[ActionResult]:
        """Carry out the action; yield the result for each email, also for those that changed in between.

        Args:
            selection: the emails.
            is_stopped: called before each transaction; True stops before the next one.

        Raises:
            LogUnavailable: the delivery log cannot be used; the results yielded so far remain valid.
        """
        yield from _unresolved_results(selection)
        for chunk in selection.chunks(self._runtime.engine):
            if is_stopped():
                return
            yield from self._execute_chunk(chunk)

    def execute_by_filter(
        self, wanted: EmailFilter, *, is_stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[ActionBatch]:
        """Carry out the action on all emails that match a filter; yield the results of each transaction.

        Emails are stopped without reading them, which `execute` does to tell of each.

        Args:
            wanted: the filter, from `select_by_filter`.
            is_stopped: called before each transaction; True stops before the next one.

        Raises:
            LogUnavailable: the delivery log cannot be used; the results yielded so far remain valid.
        """
        if self._action.is_stop:
            yield from self._stop_by_filter(wanted, is_stopped)
            return
        for chunk in Selection(filter=wanted).chunks(self._runtime.engine):
            if is_stopped():
                return
            results = list(self._execute_chunk(chunk))
            others = tuple(result for result in results if result.outcome is not ActionOutcome.DONE)
            yield ActionBatch(done=len(results) - len(others), others=others)

    def _stop_by_filter(self, wanted: EmailFilter, is_stopped: Callable[[], bool]) -> Iterator[ActionBatch]:
        cursor: int | None = 0
        while cursor is not None and not is_stopped():
            batch = self._runtime.actions.stop_matching(
                wanted,
                self._stop_target,
                limit=STOP_BATCH_SIZE,
                after=cursor,
                own_task_kinds=self._own_task_kinds,
                done=self._action.past_participle,
                audit=self._request.audit,
            )
            self.stopped_on_broker += batch.on_broker
            planned = [plan_result(*each, include=frozenset()) for each in self._check(batch.others)]
            others = [
                self._recheck(each) if each.outcome is ActionOutcome.PLANNED else each for each in planned
            ]
            yield ActionBatch(done=batch.stopped, others=tuple(others))
            cursor = batch.cursor

    def _execute_chunk(self, chunk: Sequence[Email]) -> Iterator[ActionResult]:
        checked = {email.id: (email, eligibility) for email, eligibility in self._check(chunk)}
        results = [plan_result(*each, include=self._request.include) for each in checked.values()]
        done = self._apply(
            [checked[result.id] for result in results if result.outcome is ActionOutcome.PLANNED]
        )
        # The emails of campaigns travel in batches, which only relays publish.
        self._publish([new or old for old, new in done.items() if new or not checked[old][0].campaign])
        for result in results:
            if result.id in done:
                self._count_stopped(checked[result.id][0])
                yield replace(result, outcome=ActionOutcome.DONE, new_id=done[result.id])
            elif result.outcome is ActionOutcome.PLANNED:
                yield self._recheck(result)
            else:
                yield result

    @property
    def _stop_target(self) -> State:
        return State.HELD if self._action is HOLD else State.CANCELLED

    @property
    def _own_task_kinds(self) -> tuple[str, ...] | None:
        """The kinds that the service's own tasks send without asking the log; None if these ask it."""
        if self._enqueuer.asks_log_before_own_tasks:
            return None
        kinds = self._runtime.catalog.kinds.values()
        return tuple(kind.name for kind in kinds if self._enqueuer.is_own_task(kind))

    @property
    def may_still_be_sent(self) -> bool:
        """Whether stopped emails may still be sent: no live worker checks this log before sending."""
        settings = self._runtime.settings
        is_private = settings.uses_memory_broker and not settings.mailctl_app
        return bool(self.stopped_on_broker) and not is_private and not self._runtime.workers.list_alive()

    def _count_stopped(self, email: Email) -> None:
        if self._action.is_stop and email.state is State.QUEUED:
            self.stopped_on_broker += 1

    def _check(self, chunk: Sequence[Email]) -> list[tuple[Email, EligibilityResult]]:
        return self._eligibility.check(self._action, chunk, include=self._request.include)

    def _recheck(self, result: ActionResult) -> ActionResult:
        """Return the result for an email that changed between its check and the action."""
        found = self._runtime.history.find(result.id, limit=1)
        for email, eligibility in self._check(found):
            current = plan_result(email, eligibility, include=self._request.include)
            if current.outcome is not ActionOutcome.PLANNED:
                return current
        return replace(
            result, outcome=ActionOutcome.IMPOSSIBLE, reason="another process changed it in the meantime"
        )

    def _apply(self, checked: Sequence[tuple[Email, EligibilityResult]]) -> dict[str, str | None]:
        """Carry out the action; return the ids of the emails it was done to, with those of new copies."""
        if self._action is RESEND:
            return {email.id: new for email, _ in checked if (new := self._resend(email))}
        done: set[str] = set()
        for lifetime_of, ids in self._group_by_new_lifetime(checked).items():
            done |= self._apply_to_ids(ids, lifetime_of=lifetime_of)
        return dict.fromkeys(done)

    @property
    def _is_forced(self) -> bool:
        """Whether emails are sent in spite of suppressions and rate limits."""
        return not self._request.include.isdisjoint({Hazard.SUPPRESSED, Hazard.UNSUBSCRIBED})

    def _group_by_new_lifetime(
        self, checked: Sequence[tuple[Email, EligibilityResult]]
    ) -> dict[str | None, list[str]]:
        """Group ids by the kind whose full lifetime the emails get again; None for emails not expired."""
        groups: dict[str | None, list[str]] = {}
        for email, eligibility in checked:
            kind = email.kind if Hazard.EXPIRED in eligibility.hazards else None
            groups.setdefault(kind, []).append(email.id)
        return groups

    def _apply_to_ids(self, ids: Sequence[str], *, lifetime_of: str | None) -> frozenset[str]:
        actions, action, audit = self._runtime.actions, self._action, self._request.audit
        if action.is_stop:
            return actions.stop(
                ids,
                self._stop_target,
                from_states=action.allowed_states,
                done=action.past_participle,
                audit=audit,
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
        request = EmailRequest(
            kind=kind,
            forced_by=self._request.audit.actor if self._is_forced else None,
            # Links that came with the email do not live longer in a new one.
            expires_at=self._given_links_expiry(kind, email, content),
        )
        [draft] = make_drafts(request, [content], queue=queue, now=self._runtime.clock())
        again = Hazard.RESENT in self._request.include
        is_done = self._runtime.actions.resend(
            email.id, draft, from_states=self._action.allowed_states, audit=self._request.audit, again=again
        )
        return draft.id if is_done else None

    def _given_links_expiry(self, kind: Kind, email: Email, content: Content) -> datetime | None:
        are_sealed = self._runtime.settings.seals_link_tokens
        named = effective_kind(kind, content.template)
        return given_links_expiry(named, content, given_at=email.created_at, are_sealed=are_sealed)

    def _publish(self, ids: Sequence[str]) -> None:
        """Publish emails if no relay will: that is, if no worker that shares the log is alive."""
        if self._action.is_stop or not ids or self.broker_error:
            return
        if self._runtime.workers.list_alive():
            self._runtime.publications.wake_relays()
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
