"""Options that several commands share."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailctl.cli.arguments import require_choice
from mailctl.cli.completion import complete_id, complete_kind, complete_queue, complete_state
from mailctl.cli.context import with_signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.cli.context import CliSession
    from mailctl.delivery_log.queries.search import EmailFilter

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
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done without doing it.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
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
class FilterOptions(OptionGroup):
    """Filters for emails, all of which must match."""

    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="Only emails in this state, such as failed; repeatable.",
            autocompletion=complete_state,
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = None
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="Only emails of this kind, such as reset; repeatable.",
            autocompletion=complete_kind,
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = None
    user_id: Annotated[
        str | None,
        typer.Option(
            "--user-id", metavar="ID", help="Only emails to this user.", rich_help_panel=_FILTERS_PANEL
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
            rich_help_panel=_FILTERS_PANEL,
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
            help="Only emails with an attempt after which the mail server may have had them.",
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = False
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Only emails recorded since WHEN: an age such as 24h, or an ISO 8601 time.",
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = None
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="WHEN",
            help="Only emails recorded before WHEN: an age such as 1h, or an ISO 8601 time.",
            rich_help_panel=_FILTERS_PANEL,
        ),
    ] = None

    def to_filter(self, session: CliSession) -> EmailFilter:
        """Return the filter that these options describe.

        Raises:
            InvalidInput: a state or kind does not exist, or a time cannot be parsed.
        """
        from mailctl.delivery_log.queries.search import EmailFilter
        from mailctl.domain.models import State
        from mailctl.timefmt import parse_past_time

        now = datetime.now(UTC)
        return EmailFilter(
            states=tuple(
                State(require_choice(value, list(State), field="--state")) for value in self.state or ()
            ),
            kinds=tuple(session.catalog.get(value).name for value in self.kind or ()),
            user_id=self.user_id,
            to=self.to,
            queue=self.queue,
            campaign=self.campaign,
            error=self.error,
            stopped_by=self.stopped_by,
            maybe_sent=self.maybe_sent,
            since=parse_past_time(self.since, field="--since", now=now) if self.since else None,
            until=parse_past_time(self.until, field="--until", now=now) if self.until else None,
        )


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
            help="Include emails with a hazard: permanent, maybe-sent, expired, suppressed, resent.",
        ),
    ] = ""
    force: Annotated[
        bool, typer.Option("--force", help="Include every email given by id, whatever its hazards.")
    ] = False


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
