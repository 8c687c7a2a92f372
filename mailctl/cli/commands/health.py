"""`mailctl health`: check the services that emails depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.arguments import check_address
from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from mailctl.cli.terminal.output import Output
    from mailctl.monitoring.health import CanaryOptions
    from mailctl.monitoring.hops import Hop


@uses_log(AccessMode.READ)
def health(
    session: CliSession,
    canary: Annotated[
        bool,
        typer.Option(
            "--canary",
            help="Also send a canary through a worker to the mail server, up to RCPT; no message is sent.",
        ),
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="ADDRESS", help="Recipient address of the canary; default: EMAIL_FROM_ADDRESS."
        ),
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option(
            "--queue", metavar="NAME", help="Queue to send the canary through; default: the queue of emails."
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", min=1, max=600, metavar="SECONDS", help="How long the canary may take, in seconds."
        ),
    ] = 20.0,
) -> None:
    """Check that emails can be sent: log, broker, workers, mail server.

    Exits with the code of the first check that fails.

    \b
    Examples:
      mailctl health
      mailctl health --canary --queue celery --json

    \b
    Exit codes:
      0  Emails can be sent.
      1  A check failed, such as that of the mail server.
      2  A setting is invalid, or the log has another schema.
      3  There is no delivery log.
      5  The broker, the log or (with --canary) the mail server is unreachable.
      8  The canary did not come back in time.

    \b
    See also:
      mailctl monitor, mailctl check-config
    """
    if canary:
        session.access_mode = AccessMode.UPDATE
    options = _canary_options(canary=canary, to=check_address(to, name="--to"), queue=queue, timeout=timeout)
    hops = _check(session, options)
    broken = next((hop for hop in hops if not hop.ok), None)
    if session.output.as_json:
        from mailctl.views.health import HealthView

        session.output.record(HealthView.of(hops))
    if broken is not None:
        raise typer.Exit(broken.exit_code)


def _canary_options(
    *, canary: bool, to: str | None, queue: str | None, timeout: float
) -> CanaryOptions | None:
    from mailctl.domain.address_validation import validate_address
    from mailctl.monitoring.health import CanaryOptions

    if not canary:
        if to or queue:
            raise InvalidInput("--to" if to else "--queue", "requires --canary.", fix="Add --canary.")
        return None
    recipient = None if to is None else validate_address(to, field="--to")
    return CanaryOptions(to=recipient, queue=queue, timeout_seconds=timeout)


def _check(session: CliSession, canary: CanaryOptions | None) -> list[Hop]:
    """Print each hop as soon as it is checked; return all of them."""
    from mailctl.monitoring.health import check_health
    from mailctl.runtime import open_without_log

    _ = session.settings.secret_keys  # invalid settings are an error of their own, not a broken hop
    hops: list[Hop] = []
    with session.output.spinner("checking") as update:
        found = check_health(
            lambda: session.runtime,
            open_without_log=lambda: open_without_log(session.settings),
            canary=canary,
        )
        for hop in found:
            update(f"{hop.name} checked")
            _show(session.output, hop)
            hops.append(hop)
    return hops


def _show(output: Output, hop: Hop) -> None:
    if output.as_json:
        return
    from mailctl.timefmt import format_milliseconds

    duration = f" ({format_milliseconds(hop.seconds)})" if hop.seconds is not None else ""
    # A hop that works and has something to fix is a warning.
    state = "fail" if not hop.ok else "warn" if hop.fix else "ok  "
    output.state(state, f"{hop.name}: {hop.detail}{duration}")
    if hop.fix:
        output.fix(hop.fix, indent="      -> ")
