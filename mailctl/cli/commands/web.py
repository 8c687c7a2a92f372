"""`mailctl web`: the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode

if TYPE_CHECKING:
    from mailctl.delivery_log.api_keys import NewApiKey
    from mailctl.errors import LogMissing


@uses_log(AccessMode.UPDATE)
def web(
    session: CliSession,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 8025,
    log_format: Annotated[
        str, typer.Option("--log-format", metavar="FORMAT", help="text, or json: one object a line.")
    ] = "text",
) -> None:
    """Serve the dashboard: pages and JSON that show everything, and change nothing."""
    from mailctl.web.server import serve

    def say(address: str, guest: NewApiKey | None) -> None:
        session.output.note(f"dashboard: {address}")
        if guest is not None:
            session.output.note(f"key, until this process ends: {guest.plaintext}")

    def warn(missing: LogMissing) -> None:
        session.output.note(f"{missing.message} The dashboard shows it as soon as it exists. {missing.fix}")

    serve(
        session.settings,
        host=host,
        port=port,
        log_format=log_format,
        on_ready=say,
        on_missing_log=warn,
    )
