"""The filters of the list of emails: from a query string, and to the `mailctl list` command."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import Query

from mailctl import runtime
from mailctl.delivery_log.queries.search import EmailFilter, search
from mailctl.domain.choices import require_choice
from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.states import State
from mailctl.errors import NotFound
from mailctl.operations.known_names import check_names
from mailctl.operations.selection import find_ids
from mailctl.timefmt import parse_past_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.delivery_log.queries.search import EmailPage
    from mailctl.domain.shell_command import ShellCommand

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 500
_MAX_LENGTH = 320
#: The filters that have one value each.
_SINGLE_FILTERS = ("user_id", "to", "queue", "campaign", "error", "since", "until")

FilterText = Annotated[str, Query(max_length=_MAX_LENGTH)]


def _enum_schema(values: Iterable[str]) -> dict[str, Any]:
    """Return the JSON Schema of a parameter whose field of a form may be empty."""
    return {"items": {"type": "string", "enum": ["", *values]}}


@dataclass(frozen=True, kw_only=True)
class EmailQuery:
    """The parameters of a list of emails, as text; the fields that a form left empty are ""."""

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
        """Return the filter for the search.

        Raises:
            InvalidInput: there is no such state or kind, or a time is invalid.
        """
        now, kinds = datetime.now(UTC), runtime.current().catalog.kinds
        return EmailFilter(
            states=[State(require_choice(state, list(State), noun="state")) for state in self.state],
            kinds=[require_choice(kind, kinds, noun="kind") for kind in self.kind],
            user_id=self.user_id or None,
            to=self.to or None,
            queue=self.queue or None,
            campaign=self.campaign or None,
            error=self.error or None,
            since=parse_past_time(self.since, field="since", now=now) if self.since else None,
            until=parse_past_time(self.until, field="until", now=now) if self.until else None,
        )

    def page(self) -> EmailPage:
        """Return the page of the list.

        A text in the search box that is a part of no address may be an id or the start of one, a Message-ID,
        an idempotency key, or the queue id of a mail server.

        Raises:
            InvalidInput: there is no such state or kind, or a time is invalid.
            NotFound: no email matches, and the queue or the campaign does not exist.
        """
        parts, wanted = runtime.current(), self.to_filter()
        page = search(
            parts.engine, wanted, limit=self.limit, after=self.after, oldest_first=self.oldest_first
        )
        if not page.emails and self._is_one_text:
            with suppress(NotFound):
                named = EmailFilter(ids=find_ids(parts, [self.to]))
                return search(parts.engine, named, limit=self.limit, oldest_first=self.oldest_first)
        if not page.emails:
            check_names(parts, wanted)
        return page

    def named_email(self, page: EmailPage) -> str | None:
        """Return the id of the email that the search box names, if the page has that one only; else None."""
        if len(page.emails) != 1 or not self._is_one_text:
            return None
        [email] = page.emails
        return None if self.to.lower() in email.to.lower() else email.id

    @property
    def _is_one_text(self) -> bool:
        """Whether there is a text in the search box and no other filter."""
        return bool(self.to) and self._pairs() == [("to", self.to)] and self.after is None

    @property
    def has_filters(self) -> bool:
        """Whether any filter is set."""
        return bool(self._pairs())

    @property
    def has_more_filters(self) -> bool:
        """Whether a filter is set that the page hides behind "More filters"."""
        hidden = (self.user_id, self.queue, self.campaign, self.since, self.until)
        return self.oldest_first or any(hidden)

    def query_string(self, *, after: str | None) -> str:
        """Return the query string of a page of the same list.

        Args:
            after: the cursor of the page; None for the first page.
        """
        pairs = [*self._pairs(), *([("oldest_first", "true")] if self.oldest_first else [])]
        if self.limit != DEFAULT_PAGE_SIZE:
            pairs.append(("limit", str(self.limit)))
        if after is not None:
            pairs.append(("after", after))
        return urlencode(pairs)

    def command(self) -> ShellCommand:
        """Return the command that prints the same list."""
        single = {name: getattr(self, name) for name in _SINGLE_FILTERS}
        return mailctl_command(
            "list", state=self.state, kind=self.kind, **single, oldest_first=self.oldest_first
        )

    def _pairs(self) -> list[tuple[str, str]]:
        multiple = [("state", state) for state in self.state] + [("kind", kind) for kind in self.kind]
        return multiple + [(name, value) for name in _SINGLE_FILTERS if (value := getattr(self, name))]


def read_email_query(
    state: Annotated[
        list[str], Query(default_factory=list, max_length=20, json_schema_extra=_enum_schema(State))
    ],
    kind: Annotated[
        list[str],
        Query(default_factory=list, max_length=20, description="A built-in kind, or one of MAILCTL_CATALOG."),
    ],
    user_id: FilterText = "",
    to: Annotated[str, Query(max_length=_MAX_LENGTH, description="A part of the address.")] = "",
    queue: FilterText = "",
    campaign: FilterText = "",
    error: Annotated[
        str, Query(max_length=_MAX_LENGTH, description="A part of the reason, such as 550.")
    ] = "",
    since: Annotated[
        str, Query(max_length=64, description="Recorded since: a duration such as 24h, or an ISO 8601 time.")
    ] = "",
    until: Annotated[
        str, Query(max_length=64, description="Recorded before: a duration such as 1h, or an ISO 8601 time.")
    ] = "",
    oldest_first: bool = False,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)] = DEFAULT_PAGE_SIZE,
    after: Annotated[
        str | None, Query(pattern=r"^\d{1,18}$", description="The value of `next` of the previous page.")
    ] = None,
) -> EmailQuery:
    """Return the parameters of a list of emails from the query string."""
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
