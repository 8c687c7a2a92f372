"""Suppressions and limits, applied where emails are recorded."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.suppressions import Suppressions, SuppressionSource
from mailctl.domain.rate_limits import ALL_KINDS, RateLimit, RateLimits
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

TWO_A_MINUTE = RateLimit(count=2, unit="m")


def record(log: Log, limits: RateLimits | None, count: int = 1, **more: str) -> list[str]:
    """Record emails one after the other, and return their ids."""
    outbox = log.outbox_with(limits)
    return [outbox.add([log.draft(**more)], due_at=log.now).id for _ in range(count)]


def test_an_email_to_a_suppressed_address_is_suppressed(log: Log) -> None:
    """In any spelling, unless an operator forces it."""
    Suppressions(log.engine).add({"ZOE@example.com": "no"}, source=SuppressionSource.IMPORT, actor="ada")
    [plain], [forced] = record(log, None), record(log, None, forced_by="ada")
    assert (log.email(plain).state, log.email(forced).state) == (State.SUPPRESSED, State.PENDING)
    assert log.email(plain).reason_code is ReasonCode.SUPPRESSED_ADDRESS


@pytest.mark.parametrize(
    "limits",
    [
        RateLimits(per_recipient={"welcome": (TWO_A_MINUTE,)}),
        RateLimits(per_recipient={ALL_KINDS: (TWO_A_MINUTE,)}),
        RateLimits(per_user={"welcome": (TWO_A_MINUTE,)}),
    ],
)
def test_what_is_over_a_limit_is_suppressed(log: Log, limits: RateLimits) -> None:
    """By address or by user, for one kind or all."""
    *within, over = record(log, limits, 3, user_id="7")
    assert {log.email(each).state for each in within} == {State.PENDING}
    assert (log.email(over).state, log.email(over).reason_code) == (State.SUPPRESSED, ReasonCode.OVER_LIMIT)


def test_a_limit_of_another_kind_does_not_count(log: Log) -> None:
    """Nor do emails to others."""
    limits = RateLimits(per_recipient={"reset": (TWO_A_MINUTE,)})
    assert {log.email(each).state for each in record(log, limits, 3)} == {State.PENDING}


def test_what_is_over_the_global_limit_waits_in_line(log: Log) -> None:
    """At the rate of the limit, after those that wait already: known by their code, not by their text."""
    limits = RateLimits(global_limit=TWO_A_MINUTE)
    *_, third = record(log, limits, 3)
    log.change(third, error="in other words")
    [fourth] = record(log, limits)
    assert log.email(third).reason_code is ReasonCode.OVER_GLOBAL_LIMIT
    assert log.email(third).due_at == log.now + timedelta(minutes=1)
    assert log.email(fourth).due_at == log.now + timedelta(minutes=1, seconds=30)
