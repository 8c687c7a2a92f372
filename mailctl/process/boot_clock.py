"""A clock that is never set and that a suspended host does not stop."""

from __future__ import annotations

import time

#: Linux has it; elsewhere the monotonic clock, which may stop while the host is suspended.
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Return the seconds of a clock that is never set and runs on while the host is suspended."""
    return time.clock_gettime(_BOOTTIME)
