"""Groups of options that several commands share, each in one place."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailctl.cli.completion import complete_id, complete_kind, complete_queue, complete_state
from mailctl.cli.context import with_signature
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mailctl.cli.context import CliSession
    from mailctl.delivery_log.queries.search import EmailFilter

IdsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID",
        help="Ids, or unique starts of them; - reads them from standard input.",
        autocompletion=complete_id,
        show_default=False,
    ),
]


class OptionGroup:
    """A group of options: a command with a parameter of such a type has them all."""


@dataclass(frozen=True, kw_only=True)
class FilterOptions(OptionGroup):
    """What emails have to have in common."""

    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", metavar="STATE", help="Such as failed; repeatable.", autocompletion=complete_state
        ),
    ] = None
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind", metavar="KIND", help="Such as reset; repeatable.", autocompletion=complete_kind
        ),
    ] = None
    user_id: Annotated[str | None, typer.Option("--user-id", metavar="ID", help="Of this user.")] = None
    to: Annotated[str | None, typer.Option("--to", metavar="TEXT", help="A part of the address.")] = None
    queue: Annotated[
        str | None,
        typer.Option("--queue", metavar="NAME", help="Of this queue.", autocompletion=complete_queue),
    ] = None
    campaign: Annotated[str | None, typer.Option("--campaign", metavar="NAME", help="Of this campaign.")] = (
        None
    )
    error: Annotated[
        str | None, typer.Option("--error", metavar="TEXT", help="A part of the reason, such as 550.")
    ] = None
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="Recorded since: 24h, or a time (ISO 8601).")
    ] = None
    until: Annotated[
        str | None, typer.Option("--until", metavar="WHEN", help="Recorded before: 1h, or a time (ISO 8601).")
    ] = None

    def to_filter(self, session: CliSession) -> EmailFilter:
        """Return what they say.

        Raises:
            InvalidInput: a state or kind does not exist, or a time is none.
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
            since=parse_past_time(self.since, field="--since", now=now) if self.since else None,
            until=parse_past_time(self.until, field="--until", now=now) if self.until else None,
        )


@dataclass(frozen=True, kw_only=True)
class ActionOptions(OptionGroup):
    """How something is done to emails."""

    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it stays with the emails.")
    ] = ""
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = (
        False
    )
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False


@dataclass(frozen=True, kw_only=True)
class OverrideOptions(OptionGroup):
    """What is done only when it is named."""

    include: Annotated[
        str,
        typer.Option(
            "--include",
            metavar="WHAT,...",
            help="Also these: permanent (dead mailboxes), maybe-sent, useless (too old), suppressed, resent.",
        ),
    ] = ""
    force: Annotated[
        bool, typer.Option("--force", help="The emails that are named by id, whatever they are.")
    ] = False


def with_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of each group that its parameters name."""
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    groups = {each.name: each.annotation for each in parameters if _is_group(each.annotation)}
    members = {
        name: list(inspect.signature(group, eval_str=True).parameters.values())
        for name, group in groups.items()
    }

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


def require_choice(value: str, names: Iterable[str], *, field: str) -> str:
    """Return a name that is one of those that there are.

    Raises:
        InvalidInput: it is not.
    """
    if value not in names:
        raise InvalidInput(field, f"{value!r} is none.", fix=f"Use one of: {', '.join(names)}.")
    return value


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, OptionGroup)


def _keyword_only(parameter: inspect.Parameter) -> inspect.Parameter:
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
