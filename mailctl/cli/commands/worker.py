"""`mailctl worker`: work off the emails."""

from __future__ import annotations

from typing import Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode


@uses_log(AccessMode.ON_WRITE)
def worker(
    session: CliSession,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", "-c", min=1, help="Emails at the same time.")
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option("--pool", "-P", help="prefork, threads or solo; default: what suits the broker."),
    ] = None,
    queues: Annotated[
        str | None, typer.Option("--queues", "-Q", metavar="NAMES", help="Queues, comma-separated.")
    ] = None,
    loglevel: Annotated[
        str, typer.Option("--loglevel", "-l", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR.")
    ] = "INFO",
    log_format: Annotated[
        str, typer.Option("--log-format", metavar="FORMAT", help="text, or json: one object a line.")
    ] = "text",
    hostname: Annotated[
        str | None, typer.Option("--hostname", "-n", metavar="NAME", help="Node name, as Celery's -n.")
    ] = None,
    drain: Annotated[bool, typer.Option("--drain", help="Stop when nothing is left to do.")] = False,
    drop_foreign: Annotated[
        bool,
        typer.Option("--drop-foreign", help="Delete messages of other apps instead of putting them back."),
    ] = False,
) -> None:
    """Start a Celery worker that sends the emails; Ctrl-C finishes those in hand."""
    from mailctl.checks import check_names, check_secrets_file
    from mailctl.worker.run import run_worker

    for finding in check_secrets_file(session.settings):
        session.output.note(f"warning: {finding.name}: {finding.detail} Run: {finding.fix}")
    for finding in check_names(session.settings):
        session.output.note(f"warning: {finding.name}: {finding.detail} {finding.fix}")
    code = run_worker(
        session.runtime,
        concurrency=concurrency,
        pool=pool,
        queues=queues,
        loglevel=loglevel,
        log_format=log_format,
        hostname=hostname,
        drain=drain,
        has_color=session.output.has_color,
        drop_foreign=drop_foreign,
    )
    raise typer.Exit(code)
