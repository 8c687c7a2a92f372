"""`mailctl monitor` and `mailctl metrics`: for alarms, and for what draws curves."""

from __future__ import annotations

from typing import Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode


@uses_log(AccessMode.READ)
def monitor(
    session: CliSession,
    max_depth: Annotated[
        int, typer.Option("--max-depth", min=0, help="Emails that may wait in one queue.")
    ] = 1000,
    max_age: Annotated[
        str, typer.Option("--max-age", metavar="LENGTH", help="How long one may wait, such as 5m.")
    ] = "5m",
    max_failed: Annotated[
        str, typer.Option("--max-failed", metavar="SHARE", help="The share that may fail, such as 5%.")
    ] = "5%",
    min_workers: Annotated[int, typer.Option("--min-workers", min=0, help="Workers that must be alive.")] = 1,
    queue: Annotated[
        str | None,
        typer.Option("--queue", metavar="NAME", help="Only this queue; else all but that of campaigns."),
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="LENGTH", help="How far back failures are counted.")
    ] = "15m",
) -> None:
    """Check limits: exit code 1 and the reasons if one is broken. Made for a probe, with --json."""
    from mailctl.monitoring.thresholds import Thresholds, check_thresholds
    from mailctl.timefmt import parse_duration, parse_share

    limits = Thresholds(
        max_depth=max_depth,
        max_age=parse_duration(max_age, field="--max-age"),
        max_failure_rate=parse_share(max_failed, field="--max-failed"),
        min_workers=min_workers,
        queue=queue,
        failure_window=parse_duration(since, field="--since"),
    )
    checks = check_thresholds(session.runtime, limits)
    is_ok = all(check.ok for check in checks)
    if session.output.as_json:
        from mailctl.views.health import MonitorView

        session.output.record(MonitorView.of(checks))
    else:
        for check in checks:
            session.output.state("ok  " if check.ok else "fail", f"{check.name}: {check.reason}")
    if not is_ok:
        raise typer.Exit(ExitCode.FAILED)


@uses_log(AccessMode.READ)
def metrics(
    session: CliSession,
    since: Annotated[
        str,
        typer.Option("--since", metavar="LENGTH", help="How far back emails are counted by kind and speed."),
    ] = "1h",
) -> None:
    """Print figures in Prometheus' text form, such as for node_exporter's textfile collector."""
    from mailctl.monitoring.prometheus import render_metrics
    from mailctl.timefmt import parse_duration

    session.output.raw(render_metrics(session.runtime, since=parse_duration(since, field="--since")).encode())
