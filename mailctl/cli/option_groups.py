"""Options that several commands share."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache, wraps
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailctl.cli.arguments import parse_period, parse_range, split_values
from mailctl.cli.completion import (
    complete_campaign,
    complete_id,
    complete_kind,
    complete_queue,
    complete_state,
)
from mailctl.cli.context import with_signature
from mailctl.domain.choices import require_choice
from mailctl.domain.shell_command import mailctl_command
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.cli.context import CliSession
    from mailctl.cli.terminal.tabular import TableFormat
    from mailctl.delivery_log.queries.search import EmailFilter
    from mailctl.diagnosis.status import StatusService
    from mailctl.domain.states import State
    from mailctl.views.base import View

_FILTERS_PANEL = "Filters"

IdsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID",
        help="Ids, or unique prefixes of them; - reads ids from stdin.",
        autocompletion=complete_id,
        show_default=False,
    ),
]
#: What `status`, `why` and `show` take in place of an id.
REFERENCE_HELP = (
    "The id of the email or a unique prefix of it, its Message-ID, its idempotency key, the mail server's"
    " queue id, or an address for the newest email to it."
)
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done without doing it.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
HostOption = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")]
PortOption = Annotated[
    int,
    typer.Option("--port", min=0, max=65535, metavar="PORT", help="Port to listen on; 0 for any free port."),
]
LogFormatOption = Annotated[
    str,
    typer.Option(
        "--log-format", metavar="FORMAT", help="Format of the log: text, or json for one object per line."
    ),
]
VariablesOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Set a variable of the template; repeatable."),
]
CursorOption = Annotated[
    str | None,
    typer.Option(
        "--after",
        metavar="CURSOR",
        help="Continue after this cursor, printed at the end of the previous page.",
    ),
]


class OptionGroup:
    """A group of options; a command with a parameter of this type gets all of them."""


@dataclass(frozen=True, kw_only=True)
class SubjectOptions(OptionGroup):
    """Filters that lists of emails and of events share."""

    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="Only emails in this state, such as failed; repeatable, or several as failed,held.",
            autocompletion=complete_state,
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = None
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="Only emails of this kind, such as reset; repeatable, or several as reset,welcome.",
            autocompletion=complete_kind,
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = None
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="TEXT",
            help="Only emails whose address contains TEXT.",
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = None
    queue: Annotated[
        str | None,
        typer.Option(
            "--queue",
            metavar="NAME",
            help="Only emails in this queue.",
            autocompletion=complete_queue,
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = None
    campaign: Annotated[
        str | None,
        typer.Option(
            "--campaign",
            metavar="NAME",
            help="Only emails of this campaign.",
            autocompletion=complete_campaign,
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = None

    def read_states(self) -> tuple[State, ...]:
        """Return the given states.

        Raises:
            UnknownName: a state does not exist.
        """
        from mailctl.domain.states import State

        return tuple(
            State(require_choice(value, list(State), noun="state")) for value in split_values(self.state)
        )

    def read_kinds(self, session: CliSession) -> tuple[str, ...]:
        """Return the names of the given kinds.

        Raises:
            InvalidInput: a kind does not exist.
        """
        return tuple(session.catalog.get(value).name for value in split_values(self.kind))


@dataclass(frozen=True, kw_only=True)
class FilterOptions(SubjectOptions):
    """Filters for emails, all of which must match."""

    user_id: Annotated[
        str | None,
        typer.Option(
            "--user-id", metavar="ID", help="Only emails to this user.", rich_help_panel=_FILTERS_PANEL
        ),
    ] = None
    error: Annotated[
        str | None,
        typer.Option(
            "--error",
            metavar="TEXT",
            help="Only emails whose reason contains TEXT, such as 550.",
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = None
    stopped_by: Annotated[
        str | None,
        typer.Option(
            "--stopped-by",
            metavar="ID",
            help="Only emails that this bulk action stopped, such as hold-1f2e3d.",
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = None
    maybe_sent: Annotated[
        bool,
        typer.Option(
            "--maybe-sent",
            help="Only emails that the mail server may have accepted without confirming it.",
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = False
    attempts: Annotated[
        str | None,
        typer.Option(
            "--attempts",
            metavar="NUMBER",
            help="Only emails with this number of attempts, such as 3, '>2' or '<=1'.",
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = None
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Only emails recorded since WHEN: 24h, 10:02, today, yesterday, or an ISO 8601 time.",
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = None
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="WHEN",
            help="Only emails recorded before WHEN, in the same forms.",
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = None
    between: Annotated[
        str | None,
        typer.Option(
            "--between",
            metavar="WHEN..WHEN",
            help="Only emails recorded between two times, such as 10:00..10:30.",
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = None

    def to_filter(self, session: CliSession) -> EmailFilter:
        """Return the filter that these options describe.

        Raises:
            InvalidInput: a state or kind does not exist, or a time or number cannot be parsed.
        """
        from mailctl.delivery_log.queries.search import EmailFilter

        since, until = parse_period(self.since, self.until, self.between)
        low, high = (None, None) if self.attempts is None else parse_range(self.attempts, field="--attempts")
        return EmailFilter(
            states=self.read_states(),
            kinds=self.read_kinds(session),
            user_id=self.user_id,
            to=self.to,
            queue=self.queue,
            campaign=self.campaign,
            error=self.error,
            stopped_by=self.stopped_by,
            maybe_sent=self.maybe_sent,
            min_attempts=low,
            max_attempts=high,
            since=since,
            until=until,
        )


@dataclass(frozen=True, kw_only=True)
class LayoutOptions(OptionGroup):
    """How a list is printed."""

    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FORMAT",
            help="Format of the list: table, json, csv or tsv; default: table.",
        ),
    ] = None
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="FIELD,...",
            help="Show these fields of the JSON objects as columns; smtp.code is the field code in smtp.",
        ),
    ] = None

    def apply_to(self, session: CliSession, view: str) -> None:
        """Let the output of a session print lists like this.

        Args:
            session: the session of the command.
            view: the class of the JSON objects, as MODULE:CLASS in `mailctl.views`; imported if it is needed.

        Raises:
            InvalidInput: there is no such format, --json asks for another one, or columns are chosen of JSON
                objects.
        """
        from mailctl.cli.terminal.tabular import OutputLayout, TableFormat

        wanted = self._format(is_json=session.output.as_json)
        columns = tuple(split_values([self.columns] if self.columns else None))
        if wanted is TableFormat.JSON:
            session.output.as_json = True
            if columns:
                raise InvalidInput("--columns", "applies to tables, CSV and TSV.", fix="Use jq for JSON.")
        elif columns or wanted is not TableFormat.TABLE:
            session.output.layout = OutputLayout(format=wanted, columns=columns, fields=_fields_of(view))

    def _format(self, *, is_json: bool) -> TableFormat:
        from mailctl.cli.terminal.tabular import TableFormat

        if self.output is None:
            return TableFormat.JSON if is_json else TableFormat.TABLE
        wanted = TableFormat(require_choice(self.output, list(TableFormat), noun="format"))
        if is_json and wanted is not TableFormat.JSON:
            raise InvalidInput("--output", f"{wanted} cannot be combined with --json.", fix="Give one.")
        return wanted


@dataclass(frozen=True, kw_only=True)
class ActionOptions(OptionGroup):
    """How an action is applied to emails."""

    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Record this reason in the history of each email.")
    ] = ""
    dry_run: DryRunOption = False
    yes: YesOption = False


@dataclass(frozen=True, kw_only=True)
class OverrideOptions(OptionGroup):
    """Which hazards an action ignores."""

    include: Annotated[
        str,
        typer.Option(
            "--include",
            metavar="HAZARD,...",
            help="Include emails with a hazard: permanent, maybe-sent, expired, suppressed,"
            " unsubscribed, resent.",
        ),
    ] = ""
    force: Annotated[
        bool, typer.Option("--force", help="Include every email given by id, whatever its hazards.")
    ] = False


def note_others(session: CliSession, service: StatusService, given: str) -> None:
    """Print a note if an address stands for the newest of several emails."""
    if count := service.count_others(given):
        command = mailctl_command("list", arguments=[given])
        session.output.note(f"This is the newest email to {given}; list {count} more with: {command}")


def with_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add to a command the options of every group among its parameters."""
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    groups = {each.name: each.annotation for each in parameters if _is_group(each.annotation)}
    members = {name: _members(group) for name, group in groups.items()}

    @wraps(function)
    def run(*given: Any, **values: Any) -> None:
        chosen = {
            name: group(**{each.name: values.pop(each.name) for each in members[name]})
            for name, group in groups.items()
        }
        function(*given, **values, **chosen)

    own = [each for each in parameters if each.name not in groups]
    added = [each for group in members.values() for each in group]
    return with_signature(run, [own[0], *(_keyword_only(each) for each in (*own[1:], *added))])


@cache
def _members(group: type[OptionGroup]) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(group, eval_str=True).parameters.values())


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, OptionGroup)


def _keyword_only(parameter: inspect.Parameter) -> inspect.Parameter:
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


def _fields_of(view: str) -> tuple[str, ...]:
    module, _, name = view.partition(":")
    found: type[View] = getattr(import_module(f"mailctl.views.{module}"), name)
    return found.field_names()
