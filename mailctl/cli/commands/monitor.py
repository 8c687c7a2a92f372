"""`mailctl monitor` and `mailctl metrics`: for alerting and for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.completion import complete_queue
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import OptionGroup, with_options
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from mailctl.monitoring.thresholds import Thresholds


@dataclass(frozen=True, kw_only=True)
class ThresholdOptions(OptionGroup):
    """The thresholds of `mailctl monitor`."""

    max_depth: Annotated[
        int,
        typer.Option("--max-depth", min=0, metavar="NUMBER", help="Maximum number of due emails in a queue."),
    ] = 1000
    max_age: Annotated[
        str,
        typer.Option(
            "--max-age", metavar="DURATION", help="Maximum age of a due or deferred email, such as 5m."
        ),
    ] = "5m"
    max_failed: Annotated[
        str,
        typer.Option("--max-failed", metavar="SHARE", help="Maximum share of failed emails, such as 5%."),
    ] = "5%"
    max_bounced: Annotated[
        str,
        typer.Option(
            "--max-bounced",
            metavar="SHARE",
            help="Maximum share of the accepted emails of 24 hours that may bounce, such as 5%.",
        ),
    ] = "5%"
    max_complained: Annotated[
        str,
        typer.Option(
            "--max-complained",
            metavar="SHARE",
            help="Maximum share of the accepted emails of 24 hours that may be marked as spam, such as 0.1%.",
        ),
    ] = "0.1%"
    min_workers: Annotated[
        int,
        typer.Option("--min-workers", min=0, metavar="NUMBER", help="Minimum number of live workers."),
    ] = 1
    queue: Annotated[
        str | None,
        typer.Option(
            "--queue",
            metavar="NAME",
            help="Check only this queue; default: all queues but the one of campaigns.",
            autocompletion=complete_queue,
        ),
    ] = None
    since: Annotated[
        str,
        typer.Option("--since", metavar="DURATION", help="Period in which failures are counted, such as 1h."),
    ] = "15m"

    def to_thresholds(self) -> Thresholds:
        """Return the thresholds that these options describe.

        Raises:
            InvalidInput: a duration or a share cannot be parsed.
        """
        from mailctl.monitoring.thresholds import Thresholds
        from mailctl.timefmt import parse_duration, parse_share

        return Thresholds(
            max_depth=self.max_depth,
            max_age=parse_duration(self.max_age, field="--max-age"),
            max_failure_rate=parse_share(self.max_failed, field="--max-failed"),
            min_workers=self.min_workers,
            max_bounced=parse_share(self.max_bounced, field="--max-bounced"),
            max_complained=parse_share(self.max_complained, field="--max-complained"),
            queue=self.queue,
            failure_window=parse_duration(self.since, field="--since"),
        )


@uses_log(AccessMode.READ)
@with_options
def monitor(session: CliSession, thresholds: ThresholdOptions) -> None:
    """Check thresholds; exit with 1 if one is exceeded.

    Besides the thresholds, it checks that the delivery log accepts an email, and that the workers agree,
    publish and take emails. It asks only the delivery log, so it is cheap enough to run every few seconds.
    With --app it also counts the messages on the broker that the service has published itself. --json prints
    one object.

    \b
    Examples:
      mailctl monitor --json
      mailctl monitor --queue celery --max-depth 100 --max-age 2m

    \b
    Exit codes:
      0  All thresholds hold.
      1  A threshold is exceeded, or a check failed.
      3  There is no such queue, or no delivery log.
      5  The delivery log cannot be reached.

    \b
    See also:
      mailctl health, mailctl metrics, mailctl top
    """
    from mailctl.monitoring.thresholds import check_thresholds

    checks = check_thresholds(session.runtime, thresholds.to_thresholds())
    is_ok = all(check.ok for check in checks)
    if session.output.as_json:
        from mailctl.views.health import MonitorView

        session.output.record(MonitorView.of(checks))
    else:
        for check in checks:
            session.output.state("ok  " if check.ok else "fail", f"{check.name}: {check.reason}")
    if not is_ok:
        raise typer.Exit(ExitCode.FAILED)


@uses_log(AccessMode.READ, prints_json=False)
def metrics(
    session: CliSession,
    since: Annotated[
        str,
        typer.Option(
            "--since", metavar="DURATION", help="Period of the counts and latencies per kind, such as 15m."
        ),
    ] = "1h",
) -> None:
    """Print metrics in the Prometheus text format.

    \b
    Examples:
      mailctl metrics > /var/lib/node_exporter/mailctl.prom

    \b
    Exit codes:
      0  The metrics were printed.
      3  There is no delivery log.
      5  The delivery log cannot be reached.

    \b
    See also:
      mailctl monitor, mailctl web
    """
    from mailctl.monitoring.prometheus import render_metrics
    from mailctl.timefmt import parse_duration

    session.output.raw(render_metrics(session.runtime, since=parse_duration(since, field="--since")).encode())
