"""`mailctl flower`: start Flower."""

from __future__ import annotations

from typing import Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.delivery_log.storage.access_mode import AccessMode


@uses_log(AccessMode.OPTIONAL, prints_json=False)
def flower(
    session: CliSession,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGS", help="Flower's own options, such as --port=5566.")
    ] = None,
) -> None:
    """Start Flower with the task arguments of emails redacted.

    It listens on 127.0.0.1, unless --address or --unix-socket is given.

    \b
    Examples:
      mailctl flower
      mailctl flower --port=5566 --basic-auth=ops:secret

    \b
    Exit codes:
      0  Flower was stopped.
      2  Flower is not installed, or an option is wrong.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl top, mailctl workers
    """
    from mailctl.broker.flower import run_flower

    run_flower(session.runtime.app, arguments or [])


app = CommandGroup("flower", "Start Flower with the arguments of emails redacted.")
app.add("flower", flower, takes_anything=True)
