"""The options that `mailctl send` has for every kind of email."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.arguments import parse_send_time

if TYPE_CHECKING:
    from mailctl.domain.request import EmailRequest

_BULK_PANEL = "To many"
_MANY_HELP = (
    "A list: CSV with a header or JSON lines, by user_id or by email and name; other columns are variables; "
    "- for standard input."
)


@dataclass(frozen=True, kw_only=True)
class SendOptions:
    """The options that every kind of email has."""

    user_id: Annotated[
        list[str] | None, typer.Option("--user-id", metavar="ID", help="A user of the service; repeatable.")
    ] = None
    email: Annotated[
        str | None, typer.Option("--email", metavar="ADDRESS", help="An address instead of a user.")
    ] = None
    name: Annotated[str, typer.Option("--name", help="The name that goes with --email.")] = ""
    users_file: Annotated[
        Path | None,
        typer.Option("--users-file", metavar="FILE", help=_MANY_HELP, rich_help_panel=_BULK_PANEL),
    ] = None
    all_users: Annotated[
        bool,
        typer.Option(
            "--all-users",
            help="Every user who may be mailed; asks first, with their number.",
            rich_help_panel=_BULK_PANEL,
        ),
    ] = False
    max_: Annotated[
        int | None,
        typer.Option(
            "--max",
            min=0,
            metavar="NUMBER",
            help="Send nothing if there are more recipients.",
            rich_help_panel=_BULK_PANEL,
        ),
    ] = None
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before --all-users.", rich_help_panel=_BULK_PANEL)
    ] = False
    strict: Annotated[
        bool, typer.Option("--strict", help="Send nothing if a row is bad.", rich_help_panel=_BULK_PANEL)
    ] = False
    campaign: Annotated[
        str | None,
        typer.Option(
            "--campaign",
            metavar="NAME",
            help="Nobody gets two emails of one campaign; made from the list where it is not given.",
            rich_help_panel=_BULK_PANEL,
        ),
    ] = None
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate",
            metavar="RATE",
            help="50/s or 3000/m, all workers together.",
            rich_help_panel=_BULK_PANEL,
        ),
    ] = None
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="Send then (ISO 8601).")] = None
    in_: Annotated[
        str | None, typer.Option("--in", metavar="LENGTH", help="Send after that (90s, 10m, 2h30m).")
    ] = None
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", metavar="KEY", help="The same key sends only once."),
    ] = None
    force: Annotated[
        bool,
        typer.Option("--force", help="Neither suppression nor limits keep it back; who says so is recorded."),
    ] = False
    include_inactive: Annotated[
        bool, typer.Option("--include-inactive", help="Also users who are deactivated, deleted or the like.")
    ] = False
    wait: Annotated[bool, typer.Option("--wait", help="Follow the email to its end.")] = False
    timeout: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How long --wait waits.")] = 60
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would go out, and send nothing.")] = (
        False
    )

    @property
    def is_campaign(self) -> bool:
        """Whether it is sent behind everything else, in batches."""
        return self.users_file is not None or self.all_users

    def apply_to(self, request: EmailRequest) -> EmailRequest:
        """Return the request with what these options say about sending it.

        Raises:
            InvalidInput: the time to send is not usable.
        """
        from mailctl.operations.identity import current_actor

        return replace(
            request,
            not_before=parse_send_time(at=self.at, after=self.in_),
            idempotency_key=self.idempotency_key,
            campaign=self.campaign or None,
            forced_by=current_actor() if self.force else None,
        )
