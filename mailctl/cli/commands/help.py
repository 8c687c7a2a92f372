"""`mailctl help` and `mailctl version`."""

from __future__ import annotations

from typing import Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode


@uses_log(AccessMode.OPTIONAL)
def show_help(
    session: CliSession,
    _topic: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND", help="A command, such as queue list, or exit-codes; default: all commands."
        ),
    ] = None,
) -> None:
    """Show the help of a command, or the exit codes.

    \b
    Examples:
      mailctl help status
      mailctl help queue list
      mailctl help exit-codes

    \b
    Exit codes:
      0  The help was printed.
      2  There is no such command.

    \b
    See also:
      mailctl version, mailctl check-config
    """
    from mailctl.views.versions import ExitCodeView

    # The group of all commands turns `help COMMAND` into `COMMAND --help`; what is left is the one topic.
    rows = [[str(int(code)), code.meaning] for code in ExitCode]
    views = (ExitCodeView.of(code) for code in ExitCode)
    session.output.listing(views, columns=["exit code", "meaning"], rows=rows)


@uses_log(AccessMode.OPTIONAL)
def show_version(session: CliSession) -> None:
    """Print the versions of mailctl, Python and Celery.

    \b
    Examples:
      mailctl version

    \b
    Exit codes:
      0  The versions were printed.

    \b
    See also:
      mailctl help, mailctl check-config
    """
    from mailctl.views.versions import VersionView

    view = VersionView.of_this_process()
    session.output.result(
        lambda: view, f"mailctl {view.mailctl} (Python {view.python}, Celery {view.celery})"
    )
