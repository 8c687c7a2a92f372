"""Timers are due at an interval, and leases are distrusted after a clock change or an outage."""

from __future__ import annotations

import pytest

from mailctl.worker.clocks import CLOCK_JUMP_SECONDS, IntervalTimer, LeaseTrust
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
        self.monotonic, self.wall = Clock(100.0), Clock(5000.0)
        self.trust = LeaseTrust(60.0, monotonic=self.monotonic, wall=self.wall)

    def advance(self, seconds: float) -> None:
        self.monotonic.now += seconds
        self.wall.now += seconds


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
