"""Emails of groups are recorded as they end, and the slow ones keep no other waiting."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mailctl.domain.models import State
from mailctl.errors import LogUnavailable
from mailctl.worker.flight import Flight, Group
from mailctl.worker.outcomes import DeliveryResult
from tests.unit.worker.fakes import Calls

if TYPE_CHECKING:
    import pytest

SESSIONS = 4
RESULT: Any = ("an envelope", "an outcome")


class Recorder:
    """A recorder that remembers what it recorded together."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.recorded: list[list[str]] = []
        self._error = error

    def record_all(self, claims: Any, results: Any) -> list[DeliveryResult]:
        self.recorded.append([claim.id for claim in claims])
        if self._error is not None:
            raise self._error
        return [DeliveryResult(email_id=claim.id, state=State.SENT) for claim in claims]


def make(recorder: Any, *, claims: Any = None, lease_seconds: float = 60.0) -> Flight:
    """Return a flight on a sender with some sessions."""
    return Flight(recorder, claims or Calls(), lease_seconds=lease_seconds, capacity=lambda: SESSIONS)


def group(*ids: str, is_campaign: bool = False, told: list[Any] | None = None) -> Group:
    """Return a group of claims; the results go to a list."""
    claims: Any = [SimpleNamespace(id=email_id, token="token") for email_id in ids]
    heard = [] if told is None else told
    return Group(claims=claims, is_campaign=is_campaign, on_recorded=heard.extend)


def room(flight: Flight, *, is_campaign: bool = False, wanted: int = 100) -> int:
    """Return the room that there is at once."""
    return flight.wait_for_room(is_campaign=is_campaign, wanted=wanted, until=0.0)


def test_an_email_that_ends_is_recorded_while_another_is_slow() -> None:
    """Whoever published it is told at once."""
    recorder, told = Recorder(), []
    flight, slow_and_fast = make(recorder), group("slow", "fast", told=told)
    flight.launch(slow_and_fast)
    flight.land(slow_and_fast.claims[1], RESULT)
    while not told:
        time.sleep(0)
    assert (recorder.recorded, [each.email_id for each in told]) == ([["fast"]], ["fast"])
    flight.land(slow_and_fast.claims[0], RESULT)
    flight.close()
    assert recorder.recorded == [["fast"], ["slow"]]


def test_emails_that_end_together_are_recorded_together() -> None:
    """One transaction is enough; each group hears of its own."""
    recorder, told, others = Recorder(), [], []
    flight, one, other = make(recorder), group("a", "b", told=told), group("c", told=others)
    flight.launch(one)
    flight.launch(other)
    with flight._changed:
        for claim in (*one.claims, *other.claims):
            flight.land(claim, RESULT)
    flight.close()
    assert recorder.recorded == [["a", "b", "c"]]
    assert ([each.email_id for each in told], [each.email_id for each in others]) == (["a", "b"], ["c"])


def test_a_campaign_leaves_a_session_and_gives_way() -> None:
    """Emails of other groups count against it, and not the other way round."""
    flight, campaign, resets = make(Recorder()), group("c1", "c2", is_campaign=True), group("r1")
    assert (room(flight, is_campaign=True), room(flight)) == (SESSIONS - 1, SESSIONS)
    flight.launch(campaign)
    flight.launch(resets)
    assert (room(flight, is_campaign=True), room(flight)) == (0, SESSIONS - 1)
    flight.land_rest(campaign)
    flight.land_rest(resets)
    flight.close()


def test_a_group_waits_for_room_that_is_worth_a_claim() -> None:
    """It gets what there is when its time is over."""
    flight, first = make(Recorder()), group("a", "b", "c", "d")
    flight.launch(first)
    assert room(flight) == 0
    flight.land(first.claims[0], RESULT)
    assert flight.wait_for_room(is_campaign=False, wanted=9, until=time.monotonic() + 60) == 1
    flight.land_rest(first)
    flight.close()


def test_an_attempt_that_was_cancelled_ends_once() -> None:
    """What has a result keeps it."""
    recorder = Recorder()
    flight, both = make(recorder), group("a", "b")
    flight.launch(both)
    with flight._changed:
        flight.land(both.claims[0], RESULT)
        flight.land_rest(both)
        landed = [result for _, result, _ in flight._landed]
    flight.close()
    assert landed[0] is RESULT
    assert isinstance(landed[1], asyncio.CancelledError)
    assert recorder.recorded == [["a", "b"]]


def test_leases_are_extended_until_an_email_ends() -> None:
    """An outage of the log does not end that."""
    claims = Calls(extend=LogUnavailable("the log does not answer."))
    flight, one = make(Recorder(), claims=claims, lease_seconds=0.01), group("a")
    flight.launch(one)
    while len(claims.calls) < 2:
        time.sleep(0.001)
    assert [claim.id for claim in claims.calls[0][1][0]] == ["a"]
    flight.land_rest(one)
    flight.close()


def test_an_error_that_nobody_expected_does_not_end_the_recording(caplog: pytest.LogCaptureFixture) -> None:
    """The next emails are recorded. Its text and its traceback may quote an email, and are not logged."""
    recorder = Recorder(error=ValueError("https://example.com/reset?t=secret"))
    flight = make(recorder)
    for email_id in ("a", "b"):
        one = group(email_id)
        flight.launch(one)
        flight.land_rest(one)
        flight.finish()
    flight.close()
    assert recorder.recorded == [["a"], ["b"]]
    assert caplog.messages == ["cannot record 1 outcomes (ValueError)"] * 2
    assert "secret" not in caplog.text
