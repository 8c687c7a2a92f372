"""Which causes come into question for which state, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mailctl.diagnosis import attempts, ended, waiting
from mailctl.diagnosis.models import Case, Cause, Certainty
from mailctl.domain.models import State

if TYPE_CHECKING:
    from collections.abc import Mapping

Rule = Callable[[Case], Cause | None]

#: What keeps an email that has been tried and waits for its next attempt.
_TRIED: tuple[Rule, ...] = (attempts.attempt_failed, waiting.paused)
#: In the order in which they have to be put right.
_WAITING: tuple[Rule, ...] = (
    waiting.paused,
    waiting.scheduled,
    waiting.broker_down,
    waiting.no_worker,
    waiting.wrong_queue,
    attempts.circuit_open,
    waiting.unpublishable,
    waiting.broker_lost,
    waiting.held_by_worker,
    waiting.in_line,
)
_RULES: Mapping[State, tuple[Rule, ...]] = {
    State.PENDING: _WAITING,
    State.QUEUED: _WAITING,
    State.SENDING: (attempts.dead_worker, attempts.in_hand),
    State.SENT: (ended.accepted,),
    State.CAPTURED: (ended.captured,),
    State.FAILED: (ended.failed,),
    State.HELD: (ended.held,),
    State.EXPIRED: (ended.expired,),
    State.CANCELLED: (ended.cancelled,),
    State.SUPPRESSED: (ended.suppressed,),
}


def diagnose(case: Case) -> tuple[Cause, ...]:
    """Return why an email is where it is, the most likely first; at least one cause."""
    email = case.email
    rules = _RULES.get(email.state, ())
    if email.state is State.DEFERRED or (email.state is State.PENDING and _waits_after_attempt(case)):
        rules = _rules_after_attempt(case)
    if renewed := ended.resent(case):
        return (renewed,)
    causes = [cause for rule in (*rules, ended.idempotency) if (cause := rule(case))]
    if not causes or causes[0].name == "idempotency":
        causes.insert(0, waiting.on_its_way(case))
    order = list(Certainty)
    return tuple(sorted(causes, key=lambda cause: order.index(cause.certainty)))


def _waits_after_attempt(case: Case) -> bool:
    """Whether an attempt of its own, or the circuit, is why it is not due."""
    return case.is_waiting_for_time and case.email.reason_code is not None


def _rules_after_attempt(case: Case) -> tuple[Rule, ...]:
    """Return the rules for what waits for its next attempt: until that is due, nobody else matters."""
    first: Rule = attempts.attempt_failed if case.email.state is State.DEFERRED else attempts.circuit_open
    around = (waiting.broker_down, waiting.no_worker, waiting.wrong_queue)
    if case.is_waiting_for_time:
        return (waiting.paused, first, *(_weakened(rule) for rule in around))
    return (waiting.paused, *around, first)


def _weakened(rule: Rule) -> Rule:
    """Make a rule one of what may come into the way later."""

    def weaker(case: Case) -> Cause | None:
        cause = rule(case)
        return cause.with_certainty_at_most(Certainty.POSSIBLE) if cause else None

    return weaker
