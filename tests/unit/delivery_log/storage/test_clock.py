"""The clock of a database server, with a server and a host whose clocks the test sets."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.storage.clock import ServerClock, ServerTime
from mailctl.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 60
#: The time of the server when the host has been up for 100 s.
EPOCH = datetime(2030, 1, 1, tzinfo=UTC)


class Host:
    """A host whose clock is 45 s ahead of that of the server, and the clock of the server there."""

    def __init__(self) -> None:
        self.boot, self.skew, self.set_by = 100.0, 45.0, timedelta()
        self.answer_seconds, self.is_down, self.questions = 0.0, False, 0
        self.clock = ServerClock(self._ask, boot=lambda: self.boot, wall=self._wall)

    @property
    def true_time(self) -> datetime:
        """The time of the server."""
        return EPOCH + self.set_by + timedelta(seconds=self.boot - 100)

    def _wall(self) -> float:
        return self.true_time.timestamp() + self.skew

    def _ask(self) -> ServerTime:
        self.questions += 1
        if self.is_down:
            raise LogUnavailable("down", fix="")
        asked_at, moment = self.boot, self.true_time
        return ServerTime(time=moment, asked_at=asked_at, answered_at=asked_at + self.answer_seconds)


def test_the_time_is_that_of_the_server() -> None:
    """Whatever the clock of the host says, which is known by how much it differs."""
    host = Host()
    assert host.clock() == EPOCH
    host.boot += 20
    assert host.clock() == EPOCH + timedelta(seconds=20)
    assert host.clock.skew_seconds == pytest.approx(45.0)
    assert host.questions == 1


def test_the_server_is_asked_again_now_and_then() -> None:
    """Another server may answer by then."""
    host = Host()
    host.clock()
    host.set_by = timedelta(seconds=7)
    host.boot += 31
    assert host.clock() == host.true_time
    assert host.questions == 2


def test_the_server_is_asked_again_when_the_clock_of_the_host_is_set() -> None:
    """As a virtual machine does that was paused: its other clocks may have stood still."""
    host = Host()
    host.clock()
    host.set_by, host.skew = timedelta(hours=1), 0.0
    assert host.clock() == host.true_time


def test_a_server_that_does_not_answer_is_not_needed_again() -> None:
    """Time goes on from its last answer; it is asked again a little later."""
    host = Host()
    host.clock()
    host.is_down = True
    host.boot += 40
    assert [host.clock(), host.clock()] == [host.true_time] * 2
    assert host.questions == 2


def test_a_server_that_has_never_answered_has_no_time() -> None:
    """The clock of the host does not stand in for it."""
    host = Host()
    host.is_down = True
    with pytest.raises(LogUnavailable):
        host.clock()


def test_a_caller_can_ask_the_server_itself() -> None:
    """On its own connection, and only if somebody has to."""
    host = Host()
    for _ in range(2):
        host.clock.compare_if_due(lambda: ServerTime(time=EPOCH, asked_at=100.0, answered_at=100.0))
    assert (host.clock(), host.questions) == (EPOCH, 0)


@pytest.mark.parametrize("is_known", [False, True])
def test_a_caller_that_asks_itself_keeps_no_other_call_of_its_thread_waiting(is_known: bool) -> None:
    """On an event loop, others ask while it waits for the answer; what was known is enough for them."""
    host = Host()
    if is_known:
        host.clock()
        host.boot += 31
    asked: list[str] = []

    def answer(name: str, meanwhile: Callable[[], None] = lambda: None) -> Callable[[], ServerTime]:
        def ask() -> ServerTime:
            asked.append(name)
            meanwhile()
            return ServerTime(time=host.true_time, asked_at=host.boot, answered_at=host.boot)

        return ask

    def ask_twice() -> None:
        host.clock.compare_if_due(answer("first", lambda: host.clock.compare_if_due(answer("second"))))

    thread = threading.Thread(target=ask_twice, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert asked == (["first"] if is_known else ["first", "second"])
    assert host.clock() == host.true_time


def test_an_event_loop_does_not_wait_for_the_server() -> None:
    """Once there has been an answer, another thread asks again."""
    host = Host()

    async def ask() -> datetime:
        return host.clock()

    assert asyncio.run(ask()) == host.true_time
    host.set_by = timedelta(seconds=7)
    host.boot += 31
    assert asyncio.run(ask()) == host.true_time - host.set_by
    assert (host.questions, host.clock()) == (1, host.true_time)


def test_a_slow_answer_changes_nothing() -> None:
    """It is too old by an unknown part of the time that it took."""
    host = Host()
    host.clock()
    host.boot, host.answer_seconds = host.boot + 31, 20.0
    assert host.clock() == host.true_time
