"""A report on a span of time: how many emails, what became of them, how fast, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.statistics import Statistics
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.delivery_log.queries.stat_models import Dimension, Latency, StatsGroup, StatsPoint, Totals
    from mailctl.runtime import Runtime

#: Lengths of the spans that a report is divided into, in seconds: the first that gives few enough is taken.
_BUCKETS = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 86400, 7 * 86400)
#: Spans of a report at most.
_MAX_POINTS = 60


@dataclass(frozen=True, kw_only=True)
class StatsReport:
    """What the emails that were recorded in a span of time are, and what became of them so far."""

    since: datetime
    until: datetime
    totals: Totals
    latency: Latency
    dimension: Dimension
    groups: tuple[StatsGroup, ...]
    #: The length of time that a point stands for.
    bucket: timedelta
    points: tuple[StatsPoint, ...]


def make_report(
    runtime: Runtime, dimension: Dimension, *, since: datetime, until: datetime, limit: int
) -> StatsReport:
    """Return a report.

    Args:
        dimension: what to group the emails by.
        since: when the first of them were recorded.
        until: the end of the span, which does not belong to it.
        limit: how many groups at most.

    Raises:
        InvalidInput: the span ends before it begins.
        LogUnavailable: the delivery log cannot be read.
    """
    if since >= until:
        raise InvalidInput("--until", "is not after --since.", fix="Give a later end.")
    statistics = Statistics(runtime.engine, kinds=runtime.catalog.kinds)
    bucket = _choose_bucket(until - since)
    return StatsReport(
        since=since,
        until=until,
        totals=statistics.totals(since, until),
        latency=statistics.latency(since, until),
        dimension=dimension,
        groups=tuple(statistics.grouped_by(dimension, since, until, limit)),
        bucket=bucket,
        points=tuple(statistics.over_time(since, until, bucket)),
    )


def _choose_bucket(span: timedelta) -> timedelta:
    seconds = span.total_seconds()
    fitting = (length for length in _BUCKETS if seconds / length <= _MAX_POINTS)
    return timedelta(seconds=next(fitting, 30 * 86400))
