"""`mailctl open`: open the dashboard at an email."""

from __future__ import annotations

from typing import Annotated

import typer

from mailctl.cli.completion import complete_id
from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode


@uses_log(AccessMode.READ)
def open_dashboard(
    session: CliSession,
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="The email: its id, a unique prefix of it, its Message-ID, its idempotency key, or an"
            " address; default: the overview.",
            autocompletion=complete_id,
        ),
    ] = None,
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="Address of the dashboard.")
    ] = "http://127.0.0.1:8025/",
    print_only: Annotated[
        bool, typer.Option("--print", help="Print the address without opening a browser.")
    ] = False,
) -> None:
    """Open the dashboard in a browser, at its overview or at an email.

    The dashboard must be running: start it with `mailctl web`, or include it in the service.

    \b
    Examples:
      mailctl open 3f2a
      mailctl open 3f2a --url https://shop.example/mail --print

    \b
    Exit codes:
      0  The dashboard was opened, or its address was printed.
      3  There is no such email, or no delivery log.
      5  No dashboard answers, or the delivery log cannot be used.

    \b
    See also:
      mailctl web, mailctl status
    """
    import webbrowser

    from mailctl.operations.dashboard_address import dashboard_address

    address = dashboard_address(session.runtime, reference, url=url)
    if not print_only and not session.output.as_json:
        webbrowser.open(address)
    _show(session, address)


def _show(session: CliSession, address: str) -> None:
    def view() -> DashboardAddressView:
        return DashboardAddressView(url=address)

    from mailctl.views.config import DashboardAddressView

    session.output.result(view, address)
