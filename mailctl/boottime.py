"""A clock for durations that also counts the time during which the host, or only this process, was asleep."""

from __future__ import annotations

import time

#: Linux has it; elsewhere the monotonic clock, which may stop while the host is suspended.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Return the seconds of a clock that is never set and runs on while the host is suspended."""
    return time.clock_gettime(_CLOCK)
