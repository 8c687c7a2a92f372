"""`mailctl worker`: start a worker."""

from __future__ import annotations

from typing import Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import LogFormatOption
from mailctl.delivery_log.storage.access_mode import AccessMode


@uses_log(AccessMode.ON_WRITE, prints_json=False)
def worker(
    session: CliSession,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            "-c",
            min=1,
            metavar="NUMBER",
            help="Number of processes or threads; default: one process per CPU, or 4 threads.",
        ),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(
            "--pool",
            "-P",
            metavar="POOL",
            help="Pool: prefork, threads or solo; default: threads with memory://, else prefork.",
        ),
    ] = None,
    queues: Annotated[
        str | None,
        typer.Option(
            "--queues",
            "-Q",
            metavar="NAMES",
            help="Queues to consume, comma-separated; default: the queues of emails and campaigns.",
        ),
    ] = None,
    loglevel: Annotated[
        str,
        typer.Option(
            "--loglevel",
            "-l",
            metavar="LEVEL",
            help="Level of the log: DEBUG, INFO, WARNING, ERROR or CRITICAL.",
        ),
    ] = "INFO",
    log_format: LogFormatOption = "text",
    hostname: Annotated[
        str | None,
        typer.Option("--hostname", "-n", metavar="NAME", help="Node name of the worker, as in Celery."),
    ] = None,
    drain: Annotated[bool, typer.Option("--drain", help="Stop when no email is left to send.")] = False,
    drop_foreign: Annotated[
        bool,
        typer.Option(
            "--drop-foreign",
            help="Delete messages of other apps instead of putting them back on their queue.",
        ),
    ] = False,
) -> None:
    """Start a worker that sends emails.

    It is a Celery worker. Ctrl-C or SIGTERM stops it once it has finished the emails that it is sending.

    \b
    Examples:
      mailctl worker
      mailctl worker -c 4 -Q mailctl.bulk --log-format json
      mailctl worker --drain

    \b
    Exit codes:
      0  The worker has finished its emails and stopped.
      1  The worker could not start.
      2  The configuration is wrong.
      5  The broker or the delivery log cannot be used.
      130  A second signal stopped it at once.

    \b
    See also:
      mailctl workers, mailctl queue list, mailctl check-config
    """
    from mailctl.worker.run import run_worker

    _warn(session)
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


def _warn(session: CliSession) -> None:
    from mailctl.checks.pitfalls import check_secrets_file
    from mailctl.checks.settings import check_names

    for finding in check_secrets_file(session.settings):
        session.output.note(f"warning: {finding.name}: {finding.detail} Run: {finding.fix}")
    for finding in check_names(session.settings):
        session.output.note(f"warning: {finding.name}: {finding.detail} {finding.fix}")
