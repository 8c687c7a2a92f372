"""Limits on invalid keys."""

from __future__ import annotations

from mailctl.web import login_throttle
from mailctl.web.login_throttle import WINDOW_SECONDS, LoginThrottle


class Clock:
    """A clock that stands still until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_address_waits_for_the_end_of_its_window() -> None:
    """The window begins with the first failure; other addresses do not wait."""
    clock = Clock()
    throttle = LoginThrottle(most=2, clock=clock)
    throttle.record_failure("a")
    clock.now += 20
    assert throttle.seconds_to_wait("a") == 0
    throttle.record_failure("a")
    assert throttle.seconds_to_wait("a") == int(WINDOW_SECONDS) - 20 + 1
    assert throttle.seconds_to_wait("b") == 0
    clock.now += WINDOW_SECONDS - 20
    assert throttle.seconds_to_wait("a") == 0


def test_a_failure_after_the_window_begins_another() -> None:
    """Those before do not count any more."""
    clock = Clock()
    throttle = LoginThrottle(most=2, clock=clock)
    for _ in range(3):
        throttle.record_failure("a")
        clock.now += WINDOW_SECONDS
    throttle.record_failure("a")
    assert throttle.seconds_to_wait("a") == 0


def test_the_memory_is_limited() -> None:
    """The address that has failed least recently is dropped first."""
    throttle = LoginThrottle(most=1, clock=Clock())
    for number in range(login_throttle.MAX_ADDRESSES):
        throttle.record_failure(str(number))
    throttle.record_failure("0")
    throttle.record_failure("new")
    waits = [throttle.seconds_to_wait(address) > 0 for address in ("0", "1", "2", "new")]
    assert waits == [True, False, True, True]
