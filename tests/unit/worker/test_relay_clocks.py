"""Timers are due at an interval, and leases are distrusted after a clock change or an outage."""

from __future__ import annotations

import logging

import pytest

from mailctl.worker.relay_clocks import CLOCK_JUMP_SECONDS, IntervalTimer, LeaseTrust, SkewWatch
from tests.unit.worker.fakes import Clock


def test_a_timer_is_due_at_once_and_then_at_its_interval() -> None:
    """An interval starts when the timer was found to be due."""
    clock = Clock()
    timer = IntervalTimer(10.0, monotonic=clock)
    assert [timer.restart_if_due(), timer.restart_if_due()] == [True, False]
    clock.now += 9.9
    assert not timer.restart_if_due()
    clock.now += 5
    assert timer.restart_if_due()
    clock.now += 9.9
    assert not timer.restart_if_due()


class Clocks:
    """A trust in leases of 60 seconds, with both clocks."""

    def __init__(self) -> None:
        self.boot, self.wall = Clock(100.0), Clock(5000.0)
        self.trust = LeaseTrust(60.0, boot=self.boot, wall=self.wall)
        assert self.trust.check()

    def sleep(self, seconds: float) -> None:
        self.boot.now += seconds
        self.wall.now += seconds

    def advance(self, seconds: float) -> None:
        """Let time pass while the relay runs."""
        while seconds > 0:
            self.sleep(min(seconds, 1.0))
            self.trust.note_awake()
            seconds -= 1.0


def test_leases_are_trusted_while_the_clocks_agree() -> None:
    """A small correction is normal."""
    clocks = Clocks()
    clocks.advance(30)
    clocks.wall.now += CLOCK_JUMP_SECONDS
    assert clocks.trust.check()
    assert not clocks.trust.is_clock_set_back()


@pytest.mark.parametrize(("jump", "is_set_back"), [(3600.0, False), (-3600.0, True)])
def test_leases_are_distrusted_after_the_clock_was_set(jump: float, is_set_back: bool) -> None:
    """For as long as a lease; only a clock that was set back leaves times in the far future."""
    clocks = Clocks()
    clocks.wall.now += jump
    assert not clocks.trust.check()
    assert clocks.trust.is_clock_set_back() is is_set_back
    clocks.advance(59.9)
    assert not clocks.trust.check()
    clocks.advance(0.2)
    assert clocks.trust.check()
    assert not clocks.trust.is_clock_set_back()


def test_leases_are_distrusted_after_an_outage() -> None:
    """Live workers extend them in the meantime."""
    clocks = Clocks()
    clocks.trust.distrust()
    assert not clocks.trust.check()
    clocks.advance(60)
    assert clocks.trust.check()


def test_leases_are_distrusted_after_this_worker_was_asleep() -> None:
    """Its own processes were, too, and could not extend their leases."""
    clocks = Clocks()
    clocks.sleep(CLOCK_JUMP_SECONDS + 1)
    assert not clocks.trust.check()
    clocks.advance(60)
    assert clocks.trust.check()


def test_a_long_tick_is_no_sleep() -> None:
    """The relay notes that it runs while it publishes much."""
    clocks = Clocks()
    clocks.advance(300)
    assert clocks.trust.check()


@pytest.mark.parametrize(("skews", "texts"), [([1.9, -1.9], 0), ([45.0, 45.2], 1), ([-8.0, 0.1], 2)])
def test_a_wrong_clock_is_logged_when_it_begins_and_ends(
    skews: list[float], texts: int, caplog: pytest.LogCaptureFixture
) -> None:
    """And not with every heartbeat."""
    watch = SkewWatch()
    with caplog.at_level(logging.INFO):
        for skew in skews:
            watch.check(skew)
    assert len(caplog.messages) == texts
