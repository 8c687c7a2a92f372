"""Search for emails by filters, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, or_, select

from mailctl.delivery_log.rows import SELECT_EMAILS, email_from_row
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.states import State
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Engine

    from mailctl.domain.models import Email


_SELECT = SELECT_EMAILS.add_columns(emails.c.seq)
#: The longest text to search for, in characters.
_MAX_TEXT_LENGTH = 500


@dataclass(frozen=True, kw_only=True)
class EmailFilter:
    """Conditions that emails must meet; those that are not given are ignored."""

    states: Sequence[State] = ()
    kinds: Sequence[str] = ()
    user_id: str | None = None
    #: A part of the address, in upper or lower case.
    to: str | None = None
    queue: str | None = None
    campaign: str | None = None
    #: A part of the error, such as a reply code of the mail server, in upper or lower case.
    error: str | None = None
    #: The id of the bulk action that stopped them.
    stopped_by: str | None = None
    #: Whether to find only emails that the mail server may have although nothing says that it accepted them.
    maybe_sent: bool = False
    #: The fewest and the most attempts.
    min_attempts: int | None = None
    max_attempts: int | None = None
    #: The ids of the emails.
    ids: Sequence[str] = ()
    #: Recorded at that time or later.
    since: datetime | None = None
    #: Recorded before that time.
    until: datetime | None = None
    #: Recorded no later than the email with this sequence number.
    max_seq: int | None = None

    def __post_init__(self) -> None:
        """Refuse texts for which no database can search.

        Raises:
            InvalidInput: a text is too long, or has a NUL or a surrogate.
        """
        for name in ("user_id", "to", "queue", "campaign", "error", "stopped_by"):
            text = getattr(self, name) or ""
            if len(text) > _MAX_TEXT_LENGTH:
                raise InvalidInput(name, f"is longer than {_MAX_TEXT_LENGTH} characters.")
            if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
                raise InvalidInput(name, "contains a NUL character or a lone surrogate.")

    @property
    def matches_all(self) -> bool:
        """Whether no condition is given."""
        return self == EmailFilter()


class Sort(StrEnum):
    """The fields by which a list of emails can be sorted."""

    CREATED = "created"
    UPDATED = "updated"
    TO = "to"
    STATE = "state"


@dataclass(frozen=True, kw_only=True)
class EmailPage:
    """A page of the emails that were found."""

    emails: tuple[Email, ...]
    #: The `after` of the next page; None on the last page.
    cursor: str | None


def search(
    engine: Engine,
    wanted: EmailFilter,
    *,
    limit: int,
    after: str | None = None,
    oldest_first: bool = False,
    sort: Sort = Sort.CREATED,
) -> EmailPage:
    """Return a page of the emails that match a filter.

    Args:
        limit: how many emails at most.
        after: the cursor of the previous page of a list with the same order.
        oldest_first: whether old emails come before new ones. Addresses and states are in ascending order in
            either case, and only emails that have the same follow this.
        sort: what the list is ordered by.

    Raises:
        InvalidInput: the cursor is not one of a list with this order.
        LogUnavailable: the delivery log cannot be read.
    """
    order = _SortOrder(sort, oldest_first=oldest_first)
    conditions = conditions_of(wanted)
    if after is not None:
        conditions.append(order.is_after(after))
    query = _SELECT.where(*conditions).order_by(*order.columns)
    with reading(engine) as connection:
        rows = connection.execute(query.limit(limit + 1)).all()
    shown = rows[:limit]
    return EmailPage(
        emails=tuple(email_from_row(row) for row in shown),
        cursor=order.cursor(shown[-1]) if len(rows) > limit else None,
    )


def count_matching(engine: Engine, wanted: EmailFilter) -> int:
    """Return how many emails match a filter.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    query = select(func.count()).select_from(emails).where(*conditions_of(wanted))
    with reading(engine) as connection:
        return connection.execute(query).scalar_one()


def count_by_state(engine: Engine, wanted: EmailFilter) -> dict[State, int]:
    """Return how many emails match a filter, by state.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    query = select(emails.c.state, func.count()).where(*conditions_of(wanted)).group_by(emails.c.state)
    with reading(engine) as connection:
        return {State(state): number for state, number in connection.execute(query)}


def newest_seq(engine: Engine) -> int:
    """Return the sequence number of the email that was recorded last; 0 if there is none.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    with reading(engine) as connection:
        return connection.execute(select(func.max(emails.c.seq))).scalar() or 0


class _SortOrder:
    """A total order: emails that are equal in the column are ordered by when they were recorded."""

    def __init__(self, sort: Sort, *, oldest_first: bool) -> None:
        self._column: Any = _SORT_COLUMNS[sort]
        self._is_time = sort is Sort.UPDATED
        self._is_ascending = oldest_first if self._is_time else True
        self._is_seq_ascending = oldest_first

    @property
    def columns(self) -> list[Any]:
        seq = emails.c.seq.asc() if self._is_seq_ascending else emails.c.seq.desc()
        if self._column is None:
            return [seq]
        return [self._column.asc() if self._is_ascending else self._column.desc(), seq]

    def is_after(self, cursor: str) -> ColumnElement[bool]:
        number, _, value = cursor.partition(":")
        try:
            seq = int(number)
            place: Any = datetime.fromisoformat(value).astimezone(UTC) if self._is_time else value
        except ValueError:
            seq, place = -1, ""
        if not 0 <= seq < _SEQ_LIMIT or bool(place) != (self._column is not None):
            raise InvalidInput(
                "--after",
                f"{cursor!r} is not a cursor of a list in this order.",
                fix="Use the cursor that the page before has returned.",
            )
        follows = emails.c.seq > seq if self._is_seq_ascending else emails.c.seq < seq
        if self._column is None:
            return follows
        beyond = self._column > place if self._is_ascending else self._column < place
        return or_(beyond, and_(self._column == place, follows))

    def cursor(self, row: Any) -> str:
        if self._column is None:
            return str(row.seq)
        value = row._mapping[self._column]
        return f"{row.seq}:{value.isoformat() if self._is_time else value}"


#: Sequence numbers are below this in every database.
_SEQ_LIMIT = 2**63
_SORT_COLUMNS = {
    Sort.CREATED: None,
    Sort.UPDATED: emails.c.updated_at,
    Sort.TO: emails.c.to_address,
    Sort.STATE: emails.c.state,
}


def conditions_of(wanted: EmailFilter) -> list[ColumnElement[bool]]:
    """Return the conditions of a filter as SQL."""
    given: list[tuple[Any, Callable[[Any], ColumnElement[bool]]]] = [
        (wanted.user_id, lambda value: emails.c.user_id == value),
        (wanted.to, lambda value: emails.c.to_address.icontains(value, autoescape=True)),
        (wanted.queue, lambda value: emails.c.queue == value),
        (wanted.campaign, lambda value: emails.c.campaign == value),
        (wanted.error, lambda value: emails.c.error.icontains(value, autoescape=True)),
        (wanted.stopped_by, lambda value: emails.c.stopped_by == value),
        (wanted.min_attempts, lambda value: emails.c.attempts >= value),
        (wanted.max_attempts, lambda value: emails.c.attempts <= value),
        (wanted.since, lambda value: emails.c.created_at >= value),
        (wanted.until, lambda value: emails.c.created_at < value),
        (wanted.max_seq, lambda value: emails.c.seq <= value),
    ]
    found: list[ColumnElement[bool]] = [fits(value) for value, fits in given if value is not None]
    if wanted.maybe_sent:
        found.append(emails.c.maybe_sent.is_(True))
    if wanted.ids:
        found.append(emails.c.id.in_(wanted.ids))
    if wanted.states:
        found.append(emails.c.state.in_(wanted.states))
    if wanted.kinds:
        found.append(emails.c.kind.in_(wanted.kinds))
    return found
