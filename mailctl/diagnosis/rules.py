"""The rules for each state, in the order in which they apply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl.diagnosis import attempts, ended, waiting
from mailctl.diagnosis.models import Case, Cause, Certainty
from mailctl.domain.retry_policy import count_possible_copies
from mailctl.domain.states import ACCEPTED_STATES, State
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Causes that never explain alone where an email is.
_SECONDARY = frozenset({"idempotency", "workers_differ"})

Rule = Callable[[Case], Cause | None]

#: In the order in which the causes have to be fixed.
_WAITING: tuple[Rule, ...] = (
    waiting.paused,
    waiting.scheduled,
    waiting.broker_down,
    waiting.broker_refuses,
    waiting.unregistered_task,
    waiting.own_task_silent,
    waiting.message_gone,
    waiting.no_worker,
    waiting.wrong_queue,
    attempts.circuit_open,
    waiting.worker_stalled,
    waiting.unpublishable,
    waiting.broker_lost,
    attempts.died_before,
    waiting.held_by_worker,
    waiting.in_line,
    waiting.disagreement,
)
_RULES: Mapping[State, tuple[Rule, ...]] = {
    State.PENDING: _WAITING,
    State.QUEUED: _WAITING,
    State.SENDING: (attempts.dead_worker, attempts.dead_process, attempts.died_before, attempts.in_hand),
    State.SENT: (ended.accepted,),
    State.DELIVERED: (ended.delivered,),
    State.BOUNCED: (ended.bounced,),
    State.COMPLAINED: (ended.complained,),
    State.CAPTURED: (ended.captured,),
    State.UNCONFIRMED: (ended.unconfirmed,),
    State.FAILED: (ended.failed,),
    State.HELD: (ended.held,),
    State.EXPIRED: (ended.expired,),
    State.CANCELLED: (ended.cancelled,),
    State.SUPPRESSED: (ended.suppressed,),
}


def diagnose(case: Case) -> tuple[Cause, ...]:
    """Return why an email is in its state: at least one cause, the most likely first."""
    email = case.email
    rules = _RULES.get(email.state, ())
    if email.state is State.DEFERRED or (email.state is State.PENDING and _waits_after_attempt(case)):
        rules = _rules_after_attempt(case)
    if end := ended.resent(case) or waiting.sent_elsewhere(case):
        return (end,)
    causes = [cause for rule in (*rules, ended.idempotency) if (cause := rule(case))]
    if all(cause.name in _SECONDARY for cause in causes):
        causes.insert(0, waiting.on_its_way(case))
    order = list(Certainty)
    first, *others = sorted(causes, key=lambda cause: order.index(cause.certainty))
    return (_with_copies(first, case), *others)


def _with_copies(cause: Cause, case: Case) -> Cause:
    """Return a cause whose first words say how many copies may have arrived, if an attempt is in doubt."""
    copies = count_possible_copies(case.events, is_sent=case.email.state in ACCEPTED_STATES)
    if not copies:
        return cause
    arrived = f"may have arrived up to {pluralize(copies, 'time')} (same Message-ID)"
    return replace(cause, sentence=f"{arrived}; {cause.sentence}")


def _waits_after_attempt(case: Case) -> bool:
    """Whether a failed attempt or the open circuit is why the email is not due."""
    return case.is_waiting_for_time and case.email.reason_code is not None


def _rules_after_attempt(case: Case) -> tuple[Rule, ...]:
    """Return the rules for an email that waits for its next attempt.

    Until the attempt is due, the broker and the workers are only possible causes.
    """
    first: Rule = attempts.attempt_failed if case.email.state is State.DEFERRED else attempts.circuit_open
    transport = (waiting.broker_down, waiting.no_worker, waiting.wrong_queue)
    if case.is_waiting_for_time:
        return (waiting.paused, first, *(_as_possible(rule) for rule in transport), waiting.disagreement)
    return (waiting.paused, *transport, first, waiting.disagreement)


def _as_possible(rule: Rule) -> Rule:
    """Return the rule with its cause downgraded to `possible`."""

    def possible(case: Case) -> Cause | None:
        cause = rule(case)
        return cause.with_certainty_at_most(Certainty.POSSIBLE) if cause else None

    return possible
