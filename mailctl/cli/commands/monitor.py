"""`mailctl monitor` and `mailctl metrics`: for alarms, and for what draws curves."""

from __future__ import annotations

from typing import Annotated

import typer

from mailctl.cli.context import Session, uses_log
from mailctl.delivery_log.storage.access_mode import LogMode
from mailctl.errors import ExitCode


@uses_log(LogMode.READ)
def monitor(
    session: Session,
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
    from mailctl.monitoring.thresholds import Limits, check_limits
    from mailctl.timefmt import parse_length, parse_share

    limits = Limits(
        max_depth=max_depth,
        max_age=parse_length(max_age, field="--max-age"),
        max_failed=parse_share(max_failed, field="--max-failed"),
        min_workers=min_workers,
        queue=queue,
        since=parse_length(since, field="--since"),
    )
    checks = check_limits(session.runtime, limits)
    is_ok = all(check.ok for check in checks)
    if session.output.as_json:
        session.output.record({"ok": is_ok, "checks": [vars(check) for check in checks]})
    else:
        for check in checks:
            session.output.state("ok  " if check.ok else "fail", f"{check.name}: {check.reason}")
    if not is_ok:
        raise typer.Exit(ExitCode.FAILED)


@uses_log(LogMode.READ)
def metrics(
    session: Session,
    since: Annotated[
        str,
        typer.Option("--since", metavar="LENGTH", help="How far back emails are counted by kind and speed."),
    ] = "1h",
) -> None:
    """Print figures in Prometheus' text form, such as for node_exporter's textfile collector."""
    from mailctl.monitoring.prometheus import collect
    from mailctl.timefmt import parse_length

    session.output.raw(collect(session.runtime, since=parse_length(since, field="--since")).encode())
