"""The trend: unfinished emails at the end of each step, computed backwards."""

from __future__ import annotations

from datetime import timedelta

from mailctl.delivery_log.queries.time_series import TimeSeriesPoint
from mailctl.monitoring.snapshot import unfinished_per_step
from tests.emails import NOW


def steps(*counts: tuple[int, int]) -> tuple[TimeSeriesPoint, ...]:
    """Return a step for each pair of recorded and ended emails."""
    return tuple(
        TimeSeriesPoint(
            at=NOW + timedelta(minutes=number),
            recorded=recorded,
            ended=ended,
            sent=ended,
            captured=0,
            deferred=0,
            failed=0,
            p50=None,
            p95=None,
            p99=None,
        )
        for number, (recorded, ended) in enumerate(counts)
    )


def test_the_last_step_has_the_current_number() -> None:
    """Each earlier one follows from what was recorded and what ended since."""
    assert unfinished_per_step(steps((5, 0), (3, 2), (0, 4)), 2) == (5, 6, 2)


def test_a_number_is_never_negative() -> None:
    """An email that was retried has ended twice, so that the sum may not come out."""
    assert unfinished_per_step(steps((0, 0), (9, 1)), 3) == (0, 3)


def test_without_steps_there_is_nothing() -> None:
    """Not even the current number."""
    assert unfinished_per_step((), 7) == ()
