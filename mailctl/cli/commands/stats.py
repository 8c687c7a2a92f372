"""`mailctl stats`: how many, how fast, how well."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.terminal.charts import bar, sparkline
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.timefmt import TimeStyle, format_elapsed, format_exact_duration, format_share, format_time

if TYPE_CHECKING:
    from mailctl.delivery_log.queries.stat_models import StatsGroup
    from mailctl.monitoring.stats import StatsReport

#: Cells of the longest bar on a terminal of the usual width, or in a pipe.
_BAR_WIDTH = 20
_NARROW_BAR_WIDTH = 10
_NARROW_WIDTH = 72


class GroupBy(StrEnum):
    """What emails are counted by."""

    KIND = "kind"
    STATE = "state"
    ERROR = "error"
    HOUR = "hour"
    DOMAIN = "domain"
    QUEUE = "queue"
    CAMPAIGN = "campaign"


@uses_log(AccessMode.READ)
def stats(
    session: CliSession,
    since: Annotated[
        str, typer.Option("--since", metavar="WHEN", help="Recorded since: 24h, or a time (ISO 8601).")
    ] = "24h",
    until: Annotated[
        str | None, typer.Option("--until", metavar="WHEN", help="Recorded before: 1h, or a time; else now.")
    ] = None,
    by: Annotated[GroupBy, typer.Option("--by", help="What to count by.")] = GroupBy.KIND,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Groups at most.")] = 24,
) -> None:
    """Count emails: what became of them, how fast, by what they have in common, and over time."""
    from mailctl.delivery_log.queries.stat_models import Dimension
    from mailctl.monitoring.stats import make_report
    from mailctl.timefmt import parse_past_time

    now = datetime.now(UTC)
    report = make_report(
        session.runtime,
        Dimension(by),
        since=parse_past_time(since, field="--since", now=now),
        until=parse_past_time(until, field="--until", now=now) if until else now,
        limit=limit,
    )
    if session.output.as_json:
        from mailctl.views.stats import StatsView

        session.output.record(StatsView.of(report))
    else:
        _show(session, report)


def _show(session: CliSession, report: StatsReport) -> None:
    totals, latency = report.totals, report.latency
    since, until = (format_time(at, TimeStyle.MINUTE) for at in (report.since, report.until))
    session.output.line(f"{since} to {until}")
    session.output.line()
    if not totals.recorded:
        session.output.line("No email was recorded in that time.")
        session.output.note(f"The delivery log is {session.runtime.masked_log_url}.")
        return
    tried = f"{format_share(totals.failure_rate)} of those tried to the end" if totals.failed else ""
    session.output.fields(
        [
            ("recorded", str(totals.recorded)),
            ("delivered", str(totals.delivered)),
            ("failed", f"{totals.failed}  {tried}".rstrip()),
            ("unfinished", str(totals.unfinished)),
            ("latency", _latency(report)),
        ]
    )
    if latency.count:
        session.output.line()
    _show_time_series(session, report)
    session.output.line()
    _show_groups(session, report)


def _latency(report: StatsReport) -> str:
    latency = report.latency
    figures = (("p50", latency.p50), ("p95", latency.p95), ("p99", latency.p99), ("longest", latency.longest))
    return "  ".join(f"{name} {format_elapsed(value)}" for name, value in figures if value is not None)


def _show_time_series(session: CliSession, report: StatsReport) -> None:
    room = max(10, (session.output.width or 80) - 26)
    joined = -(-len(report.points) // room)
    rows = {
        "recorded": [point.recorded for point in report.points],
        "delivered": [point.delivered for point in report.points],
        "failed": [point.failed for point in report.points],
    }
    session.output.fields(
        [(name, _series_line(values, joined)) for name, values in rows.items() if any(values)]
    )
    legend = f"{'':<11}each is {format_exact_duration(report.bucket * joined)}, each row of its own scale"
    session.output.prose(legend, hang=11)


def _series_line(values: list[int], joined: int) -> str:
    sums = [sum(values[start : start + joined]) for start in range(0, len(values), joined)]
    return f"{sparkline(sums)}  max {max(sums)}"


def _show_groups(session: CliSession, report: StatsReport) -> None:
    is_narrow = (session.output.width or _NARROW_WIDTH) < _NARROW_WIDTH
    greatest = max((share.share for share in report.groups), default=1.0)
    rows = [
        _row(share, bar(share.share / greatest, width=_NARROW_BAR_WIDTH if is_narrow else _BAR_WIDTH))
        for share in report.groups
    ]
    session.output.table([report.dimension, "emails", "share", "failed", "failing", ""], rows)


def _row(share: StatsGroup, drawn: str) -> list[str]:
    totals = share.totals
    failing = format_share(totals.failure_rate) if totals.failed else ""
    return [
        share.name or "(none)",
        str(totals.recorded),
        format_share(share.share),
        str(totals.failed or ""),
        failing,
        drawn,
    ]
