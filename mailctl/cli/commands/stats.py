"""`mailctl stats`: statistics on emails."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.completion import complete_campaign, complete_dimension
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.terminal.charts import bar, sparkline
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.choices import require_choice
from mailctl.timefmt import TimeStyle, format_elapsed, format_exact_duration, format_share, format_time

if TYPE_CHECKING:
    from mailctl.delivery_log.queries.stat_models import StatsGroup, Totals
    from mailctl.monitoring.stats import StatsReport

#: The length of the longest bar in cells, on a wide terminal or in a pipe, and on a narrow one.
_BAR_WIDTH = 20
_NARROW_BAR_WIDTH = 10
_NARROW_WIDTH = 72
#: The titles of the shares of emails sent that feedback tells.
_RATES = ("delivered", "bounced", "complained")


@uses_log(AccessMode.READ)
def stats(
    session: CliSession,
    since: Annotated[
        str,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Count emails recorded since WHEN: 24h, 10:02, today, yesterday, or an ISO 8601 time.",
        ),
    ] = "24h",
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="WHEN",
            help="Count emails recorded before WHEN, in the same forms; default: now.",
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="FIELD",
            help="Group by kind, state, error, hour, domain, provider, queue, campaign or server.",
            autocompletion=complete_dimension,
        ),
    ] = "kind",
    campaign: Annotated[
        str | None,
        typer.Option(
            "--campaign",
            metavar="NAME",
            help="Count only emails of this campaign.",
            autocompletion=complete_campaign,
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option("--limit", min=1, max=1000, metavar="NUMBER", help="Maximum number of groups to show."),
    ] = 24,
) -> None:
    """Show statistics on emails: counts, failures and latency.

    Shows totals, latency percentiles, a time series, and the share of each group: also how many of its
    emails were delivered, bounced or marked as spam, as far as feedback tells. Latency is the time from
    when an email could be sent until the mail server accepted it. Of older emails only counts by half hour
    are read, so percentiles may be up to 5 % too long; --by error, domain and provider read every email.

    \b
    Examples:
      mailctl stats --since 7d --by domain
      mailctl stats --by campaign --json
      mailctl stats --campaign spring --by error

    \b
    Exit codes:
      0  The statistics were printed.
      3  There is no such campaign, or no delivery log.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl list, mailctl top, mailctl metrics
    """
    from mailctl.delivery_log.queries.stat_models import Dimension
    from mailctl.monitoring.stats import make_report
    from mailctl.timefmt import parse_past_time

    dimension = Dimension(require_choice(by, list(Dimension), noun="field"))
    now = datetime.now(UTC)
    report = make_report(
        session.runtime,
        dimension,
        since=parse_past_time(since, field="--since", now=now),
        until=parse_past_time(until, field="--until", now=now) if until else now,
        limit=limit,
        campaign=campaign,
    )
    if session.output.as_json:
        from mailctl.views.stats import StatsView

        session.output.record(StatsView.of(report))
    else:
        _show(session, report)


def _show(session: CliSession, report: StatsReport) -> None:
    totals = report.totals
    since, until = (format_time(at, TimeStyle.MINUTE) for at in (report.since, report.until))
    session.output.line(f"{since} to {until}")
    session.output.line()
    if not totals.recorded:
        session.output.line("No email was recorded in this period.")
        session.output.note(f"The delivery log is {session.runtime.masked_log_url}.")
        return
    rate = f"{format_share(totals.failure_rate)} of those sent or failed" if totals.failed else ""
    session.output.fields(
        [
            ("recorded", str(totals.recorded)),
            ("sent", str(totals.sent)),
            ("delivered", _with_rate(totals.delivered, totals.delivered_rate)),
            ("bounced", _with_rate(totals.bounced, totals.bounced_rate)),
            ("complained", _with_rate(totals.complained, totals.complained_rate)),
            ("captured", str(totals.captured or "")),
            ("failed", f"{totals.failed}  {rate}".rstrip()),
            ("unconfirmed", str(totals.unconfirmed or "")),
            ("cancelled", str(totals.cancelled or "")),
            ("suppressed", str(totals.suppressed or "")),
            ("unfinished", str(totals.unfinished)),
            ("latency", _latency(report)),
        ]
    )
    session.output.line()
    _show_time_series(session, report)
    session.output.line()
    _show_groups(session, report)


def _with_rate(count: int, rate: float | None) -> str:
    """Return for how many of the emails sent there is feedback; "" for none."""
    return f"{count}  {format_share(rate)} of those sent" if count else ""


def _latency(report: StatsReport) -> str:
    latency = report.latency
    figures = (("p50", latency.p50), ("p95", latency.p95), ("p99", latency.p99), ("longest", latency.longest))
    return "  ".join(f"{name} {format_elapsed(value)}" for name, value in figures if value is not None)


def _show_time_series(session: CliSession, report: StatsReport) -> None:
    max_bars = max(10, (session.output.width or 80) - 26)
    points_per_bar = -(-len(report.points) // max_bars)
    rows = {
        "recorded": [point.recorded for point in report.points],
        "sent": [point.sent for point in report.points],
        "captured": [point.captured for point in report.points],
        "failed": [point.failed for point in report.points],
    }
    session.output.fields(
        [(name, _series_line(values, points_per_bar)) for name, values in rows.items() if any(values)]
    )
    period = format_exact_duration(report.bucket * points_per_bar)
    session.output.prose(f"{'':<11}one bar per {period}; each row has its own scale", hang=11)


def _series_line(values: list[int], points_per_bar: int) -> str:
    sums = [sum(values[start : start + points_per_bar]) for start in range(0, len(values), points_per_bar)]
    return f"{sparkline(sums)}  max {max(sums)}"


def _show_groups(session: CliSession, report: StatsReport) -> None:
    is_narrow = (session.output.width or _NARROW_WIDTH) < _NARROW_WIDTH
    width = _NARROW_BAR_WIDTH if is_narrow else _BAR_WIDTH
    # Where nothing is heard, empty columns would look as if nothing had been delivered.
    has_rates = any(rate for group in report.groups for rate in _rates(group.totals))
    rows = [_row(group, bar(group.share, width=width), has_rates=has_rates) for group in report.groups]
    columns = [report.dimension, "emails", "share of all", "failed", "failing"]
    session.output.table([*columns, *(_RATES if has_rates else ())], rows)


def _rates(totals: Totals) -> tuple[float | None, float | None, float | None]:
    return totals.delivered_rate, totals.bounced_rate, totals.complained_rate


def _row(group: StatsGroup, drawn_bar: str, *, has_rates: bool) -> list[str]:
    totals = group.totals
    failing = format_share(totals.failure_rate) if totals.failed else ""
    return [
        group.name or "(none)",
        str(totals.recorded),
        f"{format_share(group.share):>6}  {drawn_bar}".rstrip(),
        str(totals.failed or ""),
        failing,
        *(format_share(rate) if rate else "" for rate in (_rates(totals) if has_rates else ())),
    ]
