"""Emails of groups are recorded as they end, and the slow ones keep no other waiting."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mailctl.domain.routing import ServerPlan
from mailctl.domain.states import State
from mailctl.errors import LogUnavailable
from mailctl.worker import in_flight as module
from mailctl.worker.in_flight import EmailsInFlight, Group
from mailctl.worker.outcome_recorder import DeliveryResult
from tests.unit.worker.fakes import Calls

if TYPE_CHECKING:
    import pytest

SESSIONS = 4
CAPACITIES = {"default": SESSIONS, "slow": 1}
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


def make(
    recorder: Any,
    *,
    claims: Any = None,
    lease_seconds: float = 60.0,
    take_waiting: Any = lambda: False,
    count_stuck: Any = lambda _server, *, is_campaign: 0,
) -> EmailsInFlight:
    """Return emails in flight of a sender with some sessions."""
    return EmailsInFlight(
        recorder,
        claims or Calls(),
        lease_seconds=lease_seconds,
        capacity=CAPACITIES.__getitem__,
        count_stuck=count_stuck,
        take_waiting=take_waiting,
    )


def group(
    *ids: str, is_campaign: bool = False, told: list[Any] | None = None, server: str = "default"
) -> Group:
    """Return a group of claims; the results go to a list."""
    plan = ServerPlan(server=server)
    claims: Any = [SimpleNamespace(id=email_id, token="token", plan=plan) for email_id in ids]
    heard = [] if told is None else told
    return Group(claims=claims, is_campaign=is_campaign, on_recorded=heard.extend)


def room(in_flight: EmailsInFlight, *, is_campaign: bool = False, server: str = "default") -> int:
    """Return the room that there is at once."""
    return in_flight.wait_for_room(is_campaign=is_campaign, wanted={server: 100}, until=0.0)[1]


def test_an_email_that_ends_is_recorded_while_another_is_slow() -> None:
    """Whoever published it is told at once."""
    recorder, told = Recorder(), []
    in_flight, slow_and_fast = make(recorder), group("slow", "fast", told=told)
    in_flight.begin(slow_and_fast)
    in_flight.end(slow_and_fast.claims[1], RESULT)
    while not told:
        time.sleep(0)
    assert (recorder.recorded, [each.email_id for each in told]) == ([["fast"]], ["fast"])
    in_flight.end(slow_and_fast.claims[0], RESULT)
    in_flight.close()
    assert recorder.recorded == [["fast"], ["slow"]]


def test_emails_that_end_together_are_recorded_together() -> None:
    """One transaction is enough; each group hears of its own."""
    recorder, told, others = Recorder(), [], []
    in_flight, one, other = make(recorder), group("a", "b", told=told), group("c", told=others)
    in_flight.begin(one)
    in_flight.begin(other)
    with in_flight._changed:
        for claim in (*one.claims, *other.claims):
            in_flight.end(claim, RESULT)
    in_flight.close()
    assert recorder.recorded == [["a", "b", "c"]]
    assert ([each.email_id for each in told], [each.email_id for each in others]) == (["a", "b"], ["c"])


def test_a_campaign_leaves_a_session_and_gives_way() -> None:
    """Emails of other groups count against it, and not the other way round."""
    in_flight, campaign, resets = make(Recorder()), group("c1", "c2", is_campaign=True), group("r1")
    assert (room(in_flight, is_campaign=True), room(in_flight)) == (SESSIONS - 1, SESSIONS)
    in_flight.begin(campaign)
    in_flight.begin(resets)
    assert (room(in_flight, is_campaign=True), room(in_flight)) == (0, SESSIONS - 1)
    in_flight.end_rest(campaign)
    in_flight.end_rest(resets)
    in_flight.close()


def test_emails_that_are_stuck_leave_a_campaign_the_other_sessions() -> None:
    """They have theirs for as long as the server says nothing."""
    stuck = {True: 0, False: 2}
    in_flight = make(Recorder(), count_stuck=lambda _, *, is_campaign: stuck[is_campaign])
    dead, campaign = group("d1", "d2"), group("c1", is_campaign=True)
    in_flight.begin(dead)
    left = SESSIONS - 2
    assert (room(in_flight, is_campaign=True), room(in_flight)) == (left - 1, left)
    in_flight.begin(campaign)
    stuck[True] = 1
    assert (room(in_flight, is_campaign=True), room(in_flight)) == (max(1, left - 2), left - 1)
    in_flight.end_rest(dead)
    in_flight.end_rest(campaign)
    in_flight.close()


def test_while_all_emails_are_stuck_one_more_is_claimed() -> None:
    """It shows whether the server allows another session."""
    in_flight = make(Recorder(), count_stuck=lambda _, *, is_campaign: 0 if is_campaign else SESSIONS)
    assert (room(in_flight, is_campaign=True), room(in_flight)) == (1, 1)
    in_flight.close()


def test_a_group_waits_for_room_that_is_worth_a_claim() -> None:
    """A session is free then, and two more emails are claimed, so that no session waits for the log."""
    in_flight, first = make(Recorder()), group("a", "b", "c", "d")
    in_flight.begin(first)
    assert room(in_flight) == 0
    in_flight.end(first.claims[0], RESULT)
    until = time.monotonic() + 60
    assert in_flight.wait_for_room(is_campaign=False, wanted={"default": 9}, until=until) == ("default", 3)
    in_flight.end_rest(first)
    in_flight.close()


def test_an_email_that_ends_wakes_nobody_who_waits_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look again takes as long as much of sending an email."""
    monkeypatch.setattr(module, "_LOOK_FOR_ROOM_SECONDS", 60.0)
    monkeypatch.setitem(CAPACITIES, "default", 41)
    recorder, may_record, looks = Recorder(), threading.Event(), list[str]()
    monkeypatch.setattr(recorder, "record_all", lambda *_: may_record.wait(60) and [])
    in_flight = make(recorder)
    monkeypatch.setattr(in_flight, "_capacity", lambda name: looks.append(name) or CAPACITIES[name])
    campaign = group(*(f"c{number}" for number in range(40)), is_campaign=True)
    in_flight.begin(campaign)
    found: list[Any] = []

    def wait() -> None:
        wanted, until = {"default": 100}, time.monotonic() + 60
        found.append(in_flight.wait_for_room(is_campaign=True, wanted=wanted, until=until))

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not looks:
        time.sleep(0.001)
    for claim in campaign.claims[:9]:
        in_flight.end(claim, RESULT)
        time.sleep(0.001)
    assert (found, len(looks)) == ([], 1)
    in_flight.end(campaign.claims[9], RESULT)
    waiting.join(60)
    assert (found, len(looks)) == ([("default", 10)], 2)
    may_record.set()
    in_flight.end_rest(campaign)
    in_flight.close()


def test_no_more_is_claimed_for_a_server_than_it_has_sessions() -> None:
    """However many others have, and their emails do not wait for it."""
    in_flight, slow, others = make(Recorder()), group("s", server="slow"), group("a", "b")
    assert (room(in_flight, server="slow"), room(in_flight)) == (1, SESSIONS)
    in_flight.begin(slow)
    in_flight.begin(others)
    assert (room(in_flight, server="slow"), room(in_flight)) == (0, SESSIONS - 2)
    wanted = {"slow": 9, "default": 9}
    assert in_flight.wait_for_room(is_campaign=False, wanted=wanted, until=0.0) == ("default", 2)
    in_flight.end_rest(slow)
    in_flight.end_rest(others)
    in_flight.close()


def test_a_single_email_has_a_session_while_its_task_waits() -> None:
    """No other email is claimed for that."""
    in_flight = make(Recorder())
    with in_flight.counting("default"):
        assert room(in_flight) == SESSIONS - 1
    assert room(in_flight) == SESSIONS


def test_waiting_emails_are_looked_for_until_none_come_any_more() -> None:
    """An error ends that, too, until the next message; nothing is looked for after the end."""
    answers: list[Any] = [True, True, False, RuntimeError()]
    asked: list[int] = []

    def take() -> bool:
        asked.append(len(answers))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    in_flight = make(Recorder(), take_waiting=take)
    for rest in (1, 0):
        in_flight.look_for_waiting()
        in_flight.finish()
        assert len(answers) == rest
    in_flight.close()
    assert asked == [4, 3, 2, 1]


def test_an_attempt_that_was_cancelled_ends_once() -> None:
    """What has a result keeps it."""
    recorder = Recorder()
    in_flight, both = make(recorder), group("a", "b")
    in_flight.begin(both)
    with in_flight._changed:
        in_flight.end(both.claims[0], RESULT)
        in_flight.end_rest(both)
        ended = [result for _, result, _ in in_flight._ended]
    in_flight.close()
    assert ended[0] is RESULT
    assert isinstance(ended[1], asyncio.CancelledError)
    assert recorder.recorded == [["a", "b"]]


def test_leases_are_extended_until_an_email_ends() -> None:
    """An outage of the log does not end that."""
    claims = Calls(extend=LogUnavailable("the log does not answer."))
    in_flight, one = make(Recorder(), claims=claims, lease_seconds=0.01), group("a")
    in_flight.begin(one)
    while len(claims.calls) < 2:
        time.sleep(0.001)
    assert [claim.id for claim in claims.calls[0][1][0]] == ["a"]
    in_flight.end_rest(one)
    in_flight.close()


def test_an_error_that_nobody_expected_does_not_end_the_recording(caplog: pytest.LogCaptureFixture) -> None:
    """The next emails are recorded. Its text and its traceback may quote an email, and are not logged."""
    recorder = Recorder(error=ValueError("https://example.com/reset?t=secret"))
    in_flight = make(recorder)
    for email_id in ("a", "b"):
        one = group(email_id)
        in_flight.begin(one)
        in_flight.end_rest(one)
        in_flight.finish()
    in_flight.close()
    assert recorder.recorded == [["a"], ["b"]]
    assert caplog.messages == ["cannot record 1 outcome (ValueError)"] * 2
    assert "secret" not in caplog.text
