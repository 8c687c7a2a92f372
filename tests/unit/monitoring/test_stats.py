"""The period of a report and its buckets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.errors import InvalidInput
from mailctl.monitoring.stats import choose_bucket, make_report
from tests.emails import NOW


@pytest.mark.parametrize(
    ("span", "bucket"),
    [
        (timedelta(minutes=1), timedelta(seconds=1)),
        (timedelta(minutes=2), timedelta(seconds=5)),
        (timedelta(hours=1), timedelta(minutes=1)),
        (timedelta(days=1), timedelta(minutes=30)),
        (timedelta(days=30), timedelta(days=1)),
        (timedelta(days=5000), timedelta(days=30)),
    ],
)
def test_a_report_has_at_most_sixty_points(span: timedelta, bucket: timedelta) -> None:
    """Except one of many years."""
    assert choose_bucket(span) == bucket


@pytest.mark.parametrize("length", [timedelta(), timedelta(seconds=-1)])
def test_a_period_must_end_after_it_begins(length: timedelta) -> None:
    """It is refused before the log is read."""
    runtime: Any = None
    with pytest.raises(InvalidInput, match="until must be later than since"):
        make_report(runtime, Dimension.KIND, since=NOW, until=NOW + length, limit=1)
