"""The filters of `mailctl list` in the address of a page, and back as the command that lists the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import Query

from mailctl import runtime
from mailctl.delivery_log.queries.search import EmailFilter
from mailctl.domain.models import State
from mailctl.errors import InvalidInput
from mailctl.shell_command import mailctl_command
from mailctl.timefmt import parse_past_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.shell_command import ShellCommand

#: Rows of a page, and the most that one may ask for.
DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 500
_MAX_LENGTH = 320
#: The filters that take one value.
_SINGLE_FILTERS = ("user_id", "to", "queue", "campaign", "error", "since", "until")

FilterText = Annotated[str, Query(max_length=_MAX_LENGTH)]


def _enum_schema(names: Iterable[str]) -> dict[str, Any]:
    """Return what the document says of a field that a form may leave empty."""
    return {"items": {"type": "string", "enum": ["", *names]}}


@dataclass(frozen=True, kw_only=True)
class EmailQuery:
    """What a list was asked for, as text: empty fields are those that a form left empty."""

    state: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    user_id: str = ""
    to: str = ""
    queue: str = ""
    campaign: str = ""
    error: str = ""
    since: str = ""
    until: str = ""
    oldest_first: bool = False
    limit: int = DEFAULT_PAGE_SIZE
    after: str | None = None

    def to_filter(self) -> EmailFilter:
        """Return the filter that the library takes.

        Raises:
            InvalidInput: a state, a kind or a time is none.
        """
        now, kinds = datetime.now(UTC), runtime.current().catalog.kinds
        return EmailFilter(
            states=[State(_require_choice(each, list(State), field="state")) for each in self.state],
            kinds=[_require_choice(each, kinds, field="kind") for each in self.kind],
            user_id=self.user_id or None,
            to=self.to or None,
            queue=self.queue or None,
            campaign=self.campaign or None,
            error=self.error or None,
            since=parse_past_time(self.since, field="since", now=now) if self.since else None,
            until=parse_past_time(self.until, field="until", now=now) if self.until else None,
        )

    @property
    def has_filters(self) -> bool:
        """Whether anything is left out."""
        return bool(self._pairs())

    def query_string(self, *, after: str | None) -> str:
        """Return the query part of the address of a page of this list."""
        pairs = [*self._pairs(), *([("oldest_first", "true")] if self.oldest_first else [])]
        if self.limit != DEFAULT_PAGE_SIZE:
            pairs.append(("limit", str(self.limit)))
        if after is not None:
            pairs.append(("after", str(after)))
        return urlencode(pairs)

    def command(self) -> ShellCommand:
        """Return the command that lists the same."""
        single = {name: getattr(self, name) for name in _SINGLE_FILTERS}
        return mailctl_command(
            "list", state=self.state, kind=self.kind, **single, oldest_first=self.oldest_first
        )

    def _pairs(self) -> list[tuple[str, str]]:
        many = [("state", each) for each in self.state] + [("kind", each) for each in self.kind]
        return many + [(name, value) for name in _SINGLE_FILTERS if (value := getattr(self, name))]


def read_email_query(
    state: Annotated[
        list[str], Query(default_factory=list, max_length=20, json_schema_extra=_enum_schema(State))
    ],
    kind: Annotated[
        list[str],
        Query(default_factory=list, max_length=20, description="Of ours, or of MAILCTL_CATALOG."),
    ],
    user_id: FilterText = "",
    to: Annotated[str, Query(max_length=_MAX_LENGTH, description="A part of the address.")] = "",
    queue: FilterText = "",
    campaign: FilterText = "",
    error: Annotated[
        str, Query(max_length=_MAX_LENGTH, description="A part of the reason, such as 550.")
    ] = "",
    since: Annotated[str, Query(max_length=64, description="24h, or a time (ISO 8601).")] = "",
    until: Annotated[str, Query(max_length=64, description="1h, or a time (ISO 8601).")] = "",
    oldest_first: bool = False,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)] = DEFAULT_PAGE_SIZE,
    after: Annotated[
        str | None, Query(pattern=r"^\d{1,18}$", description="`next` of the page before.")
    ] = None,
) -> EmailQuery:
    """Return what the query part of an address asks for."""
    return EmailQuery(
        state=tuple(filter(None, state)),
        kind=tuple(filter(None, kind)),
        user_id=user_id.strip(),
        to=to.strip(),
        queue=queue.strip(),
        campaign=campaign.strip(),
        error=error.strip(),
        since=since.strip(),
        until=until.strip(),
        oldest_first=oldest_first,
        limit=limit,
        after=after,
    )


def _require_choice(value: str, names: Iterable[str], *, field: str) -> str:
    if value not in names:
        raise InvalidInput(field, f"{value!r} is none.", fix=f"Use one of: {', '.join(names)}.")
    return value
