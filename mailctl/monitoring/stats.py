"""The report of `stats`: counts, latency, groups and a time series of the emails of one period."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.statistics import Statistics
from mailctl.errors import InvalidInput
from mailctl.operations.known_names import check_campaign
from mailctl.recorder.task_results import record_results

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.delivery_log.queries.stat_models import Dimension, Latency, StatsGroup, StatsPoint, Totals
    from mailctl.runtime import Runtime

#: Bucket lengths of the time series, in seconds; the shortest that gives at most `_MAX_POINTS` is used.
_BUCKETS = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 86400, 7 * 86400)
_MAX_POINTS = 60


@dataclass(frozen=True, kw_only=True)
class StatsReport:
    """Statistics of the emails that were recorded in one period."""

    since: datetime
    until: datetime
    totals: Totals
    latency: Latency
    dimension: Dimension
    groups: tuple[StatsGroup, ...]
    #: The length of the span that each point covers.
    bucket: timedelta
    points: tuple[StatsPoint, ...]


def make_report(
    runtime: Runtime,
    dimension: Dimension,
    *,
    since: datetime,
    until: datetime,
    limit: int,
    campaign: str | None = None,
) -> StatsReport:
    """Return the statistics of the emails that were recorded in a period.

    Args:
        dimension: the property by which emails are grouped.
        since: the start of the period, inclusive.
        until: the end of the period, exclusive.
        limit: the maximum number of groups.
        campaign: counts only emails of this campaign; None counts all.

    Raises:
        InvalidInput: `until` is not after `since`.
        NotFound: the campaign is unknown.
        LogUnavailable: the delivery log cannot be read.
    """
    if since >= until:
        raise InvalidInput("until", "must be later than since.", fix="Give a later time.")
    record_results(runtime)
    if campaign is not None:
        check_campaign(runtime, campaign)
    statistics = Statistics(runtime.engine, kinds=runtime.catalog.kinds, campaign=campaign)
    bucket = choose_bucket(until - since)
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


def choose_bucket(span: timedelta) -> timedelta:
    """Return the length of the buckets into which a report divides its period."""
    seconds = span.total_seconds()
    fitting = (length for length in _BUCKETS if seconds / length <= _MAX_POINTS)
    return timedelta(seconds=next(fitting, 30 * 86400))
