"""`mailctl health`: do emails get through?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from mailctl.monitoring.health import Hop


@uses_log(AccessMode.READ)
def health(
    session: CliSession,
    canary: Annotated[
        bool,
        typer.Option("--canary", help="Go all the way up to RCPT through a worker; nothing is delivered."),
    ] = False,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="ADDRESS", help="The canary's RCPT; else EMAIL_FROM_ADDRESS."),
    ] = None,
    queue: Annotated[
        str | None, typer.Option("--queue", metavar="NAME", help="The canary's queue; else that of emails.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, max=600, help="Seconds that the worker has for the canary.")
    ] = 20.0,
) -> None:
    """Check log, broker, results, workers and mail server; exit code 1, 3, 5 or 8 tells what failed."""
    from mailctl.domain.validation import validate_address
    from mailctl.monitoring.health import CanaryOptions, check_health

    if not canary and (to or queue):
        raise InvalidInput("--to" if to else "--queue", "is for a canary.", fix="Give --canary with it.")
    if canary:
        session.access_mode = AccessMode.UPDATE
    recipient = None if to is None else validate_address(to, field="--to")
    wish = CanaryOptions(to=recipient, queue=queue, timeout_seconds=timeout) if canary else None
    _ = session.settings.secret_keys  # no hop is to blame for settings
    hops: list[Hop] = []
    with session.output.spinner("asking") as update:
        for hop in check_health(lambda: session.runtime, canary=wish):
            update(f"after {hop.name}")
            _show(session, hop)
            hops.append(hop)
    broken = next((hop for hop in hops if not hop.ok), None)
    if session.output.as_json:
        from mailctl.views.health import HealthView

        session.output.record(HealthView.of(hops))
    if broken is not None:
        raise typer.Exit(broken.exit_code)


def _show(session: CliSession, hop: Hop) -> None:
    if session.output.as_json:
        return
    from mailctl.timefmt import format_milliseconds

    took = f" ({format_milliseconds(hop.seconds)})" if hop.seconds is not None else ""
    session.output.state("ok  " if hop.ok else "fail", f"{hop.name}: {hop.detail}{took}")
    if hop.fix:
        session.output.line(f"      -> {hop.fix}")
