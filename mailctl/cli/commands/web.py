"""`mailctl web`: serve the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import HostOption, LogFormatOption, PortOption
from mailctl.delivery_log.storage.access_mode import AccessMode

if TYPE_CHECKING:
    from mailctl.delivery_log.api_keys import NewApiKey
    from mailctl.errors import LogMissing


@uses_log(AccessMode.UPDATE, prints_json=False)
def web(
    session: CliSession,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8025,
    log_format: LogFormatOption = "text",
) -> None:
    """Serve the read-only dashboard.

    Its pages and its JSON API show emails, queues, workers and statistics, and change nothing. Sign in with a
    key from `mailctl keys create`.

    \b
    Examples:
      mailctl web
      mailctl web --host 0.0.0.0 --port 8080 --log-format json

    \b
    Exit codes:
      0  The dashboard was stopped.
      2  The port is in use.
      4  Other hosts can reach the address, and there is no key.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl keys create, mailctl preview
    """
    from mailctl.web.server import serve

    def announce(address: str, guest: NewApiKey | None) -> None:
        session.output.note(f"dashboard: {address}")
        if guest is not None:
            session.output.note(f"key, valid until this process ends: {guest.plaintext}")

    def warn(missing: LogMissing) -> None:
        session.output.note(f"{missing.message} The dashboard shows it as soon as it exists. {missing.fix}")

    serve(
        session.settings,
        host=host,
        port=port,
        log_format=log_format,
        on_ready=announce,
        on_missing_log=warn,
    )
