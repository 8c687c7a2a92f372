"""The options that `mailctl send` has for every kind of email."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.arguments import parse_send_time
from mailctl.cli.completion_scripts import complete_file
from mailctl.cli.option_groups import OptionGroup
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from mailctl.domain.catalog import Kind
    from mailctl.domain.request import EmailRequest
    from mailctl.users import Screening

_CAMPAIGN_PANEL = "Campaigns"
_USERS_FILE_HELP = (
    "Send to every row of a CSV file with a header, or of a JSON lines file: user_id, or email and name; "
    "other columns are template variables. - reads stdin."
)


@dataclass(frozen=True, kw_only=True)
class SendOptions(OptionGroup):
    """The options that every kind of email has."""

    user_id: Annotated[
        list[str] | None,
        typer.Option("--user-id", metavar="ID", help="Send to this user of the service; repeatable."),
    ] = None
    email: Annotated[
        str | None, typer.Option("--email", metavar="ADDRESS", help="Send to this address instead of a user.")
    ] = None
    name: Annotated[
        str, typer.Option("--name", metavar="TEXT", help="Name of the recipient, with --email.")
    ] = ""
    users_file: Annotated[
        Path | None,
        typer.Option(
            "--users-file",
            metavar="FILE",
            help=_USERS_FILE_HELP,
            autocompletion=complete_file,
            rich_help_panel=_CAMPAIGN_PANEL,
        ),
    ] = None
    all_users: Annotated[
        bool,
        typer.Option(
            "--all-users",
            help="Send to every user who may be emailed; shows their number and asks first.",
            rich_help_panel=_CAMPAIGN_PANEL,
        ),
    ] = False
    max_: Annotated[
        int | None,
        typer.Option(
            "--max",
            min=0,
            metavar="NUMBER",
            help="Send nothing if there are more recipients than this.",
            rich_help_panel=_CAMPAIGN_PANEL,
        ),
    ] = None
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            "-y",
            help="Do not ask for confirmation of --all-users.",
            rich_help_panel=_CAMPAIGN_PANEL,
        ),
    ] = False
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Send nothing if a row is invalid; by default it is skipped.",
            rich_help_panel=_CAMPAIGN_PANEL,
        ),
    ] = False
    campaign: Annotated[
        str | None,
        typer.Option(
            "--campaign",
            metavar="NAME",
            help="Name of the campaign, which sends to each address once; with --users-file it defaults to "
            "a name derived from the file.",
            rich_help_panel=_CAMPAIGN_PANEL,
        ),
    ] = None
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate",
            metavar="RATE",
            help="Limit the rate of all workers together, such as 50/s or 3000/m.",
            rich_help_panel=_CAMPAIGN_PANEL,
        ),
    ] = None
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Send at this ISO 8601 time instead of now.")
    ] = None
    in_: Annotated[
        str | None,
        typer.Option("--in", metavar="DURATION", help="Send after this delay, such as 90s, 10m or 2h30m."),
    ] = None
    sender: Annotated[
        str | None,
        typer.Option("--sender", metavar="NAME", help="Send as this sender of MAILCTL_SENDERS."),
    ] = None
    tenant: Annotated[
        str | None,
        typer.Option(
            "--tenant",
            metavar="NAME",
            help="The tenant that the email belongs to; it determines the sender and the mail server.",
        ),
    ] = None
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", metavar="KEY", help="Send at most one email for this key."),
    ] = None
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Ignore suppressions and sending limits; the operator's name is recorded."
        ),
    ] = False
    include_inactive: Annotated[
        bool, typer.Option("--include-inactive", help="Include deactivated and deleted users.")
    ] = False
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the email is sent, has failed or is held.")
    ] = False
    timeout: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long --wait waits, in seconds.")
    ] = 60
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the message without recording or sending anything.")
    ] = False

    @property
    def is_campaign(self) -> bool:
        """Whether the recipients come from a file or are all users."""
        return self.users_file is not None or self.all_users

    def apply_to(self, request: EmailRequest) -> EmailRequest:
        """Return the request with what these options say about sending it.

        Raises:
            InvalidInput: --at or --in cannot be parsed, or both are given.
        """
        from mailctl.operations.identity import current_actor

        return replace(
            request,
            not_before=parse_send_time(at=self.at, after=self.in_),
            idempotency_key=self.idempotency_key,
            campaign=self.campaign or None,
            sender=self.sender,
            tenant=self.tenant,
            forced_by=current_actor() if self.force else None,
        )

    def screening_for(self, kind: Kind) -> Screening:
        """Return which users are refused for a kind of email."""
        from mailctl.users import screening_for

        return screening_for(kind.name, include_inactive=self.include_inactive)

    def refuse_campaign_options(self) -> None:
        """Refuse options that only campaigns have.

        Raises:
            InvalidInput: such an option is given.
        """
        for option, is_given in (
            ("--campaign", self.campaign),
            ("--rate", self.rate),
            ("--strict", self.strict),
            ("--max", self.max_ is not None),
        ):
            if is_given:
                raise InvalidInput(
                    option, "applies to campaigns only.", fix="Give --users-file or --all-users with it."
                )
