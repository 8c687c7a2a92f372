"""`mailctl feedback serve`: take feedback over HTTP."""

from __future__ import annotations

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import HostOption, LogFormatOption, PortOption
from mailctl.delivery_log.storage.access_mode import AccessMode


@uses_log(AccessMode.ON_WRITE, prints_json=False)
def serve(
    session: CliSession,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8026,
    log_format: LogFormatOption = "text",
) -> None:
    """Serve the webhooks of email providers, and the endpoint for unsubscribing.

    MAILCTL_WEBHOOK_SECRETS enables the webhooks. Put a proxy with TLS in front: secrets of providers that do
    not sign their requests are accepted over HTTPS only. A service in Python can include
    `mailctl.feedback.router` instead.

    \b
    Examples:
      mailctl feedback serve
      mailctl feedback serve --host 0.0.0.0 --port 8080 --log-format json

    \b
    Exit codes:
      0  The server was stopped.
      2  A setting is not valid, or the port cannot be bound.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl feedback tail-log, mailctl suppress list
    """
    from mailctl.web.server import serve_feedback

    serve_feedback(
        session.settings,
        host=host,
        port=port,
        log_format=log_format,
        on_ready=lambda address: session.output.note(f"feedback: {address}"),
    )
