"""Lookups: emails by id, by prefix, by call, and what is left to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select

from mailctl.delivery_log.due import may_start, message_queue, starts_later
from mailctl.delivery_log.pauses import is_not_paused
from mailctl.delivery_log.rows import SELECT_EMAILS, email_from_row, event_from_row
from mailctl.delivery_log.storage.batches import is_among
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.prepared_statements import repeat_if_refused
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails, events
from mailctl.delivery_log.storage.utc_time import UtcDateTime
from mailctl.domain.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Engine

    from mailctl.domain.models import Email, Event, Json

_BY_IDS: Any = SELECT_EMAILS.where(is_among(emails.c.id, "ids")).order_by(emails.c.seq)
_PUBLISHABLE: Any = _BY_IDS.where(
    UNINDEXED_STATE == State.PENDING,
    may_start(bindparam("now", type_=UtcDateTime)),
    is_not_paused(),
)
_EVENTS: Any = select(events).where(events.c.email_id == bindparam("of")).order_by(events.c.seq)
_other = emails.alias()
#: The ids before and after each id in the log, for which the index is read twice.
_NEIGHBOURS: Any = select(
    emails.c.id,
    select(func.max(_other.c.id)).where(_other.c.id < emails.c.id).scalar_subquery().label("before"),
    select(func.min(_other.c.id)).where(_other.c.id > emails.c.id).scalar_subquery().label("after"),
).where(is_among(emails.c.id, "ids"))
#: The words of a reply, one of which is the id under which the mail server has queued an email.
_WORD = re.compile(r"[\w.-]+")
#: The replies that are looked through for such a word.
_MAX_REPLIES = 100
#: The fewest characters of a short id.
_MIN_SHORT_ID_LENGTH = 8
#: An email that a relay has reserved or postponed is due again by then; a paused one is not.
_BACKLOG_HORIZON = timedelta(minutes=1)
#: The states of emails that workers still have to process.
_BACKLOG_STATES = (State.PENDING, State.QUEUED, State.SENDING, State.DEFERRED)


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """How many emails are still to be sent."""

    #: They can be sent now, or are being sent.
    ready: int
    #: They wait for a later time.
    waiting: int


class EmailLookups:
    """Looks up emails and their events.

    Args:
        engine: of the delivery log's database, with the current schema.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, prefix: str, *, limit: int = 6) -> list[Email]:
        """Return the email whose id is `prefix`; if there is none, up to `limit` whose id starts with it.

        Ids of mailctl are in lower case and are found in any case; ids of other programs only as they are.
        """
        given = prefix.strip()
        found = self._find(given, limit=limit)
        if not found and given != given.lower():
            found = self._find(given.lower(), limit=limit)
        return found

    def _find(self, prefix: str, *, limit: int) -> list[Email]:
        exact = self._select(emails.c.id == prefix, limit=1)
        if exact or not prefix:
            return exact
        # A range, not LIKE: it uses the index in every collation, and `%` and `_` have no special meaning.
        is_near = (emails.c.id >= prefix) & (emails.c.id < prefix + "\U0010ffff")
        # Collations that ignore hyphens put other ids into that range.
        starts_like_it = func.substr(emails.c.id, 1, len(prefix)) == prefix
        return self._select(is_near & starts_like_it, limit=limit)

    def find_by_reference(self, reference: str, *, limit: int = 6) -> list[Email]:
        """Return the emails that a name from outside refers to, the newest first.

        Args:
            reference: a Message-ID, the address of a recipient, or the id under which the mail server has
                queued an email, as its reply names it.
            limit: how many emails at most.
        """
        given = reference.strip()
        if not given:
            return []
        bare = given.removeprefix("<").removesuffix(">")
        is_message_id = emails.c.message_id.in_([given, bare, f"<{bare}>"])
        if "@" in given:
            is_recipient = func.lower(emails.c.to_address) == given.lower()
            return self._newest(is_message_id, limit=limit) or self._newest(is_recipient, limit=limit)
        named = [
            email
            for email in self._newest(emails.c.smtp_text.contains(given, autoescape=True), limit=_MAX_REPLIES)
            if given in _WORD.findall(email.reply.text)
        ]
        return named[:limit] or self._newest(is_message_id, limit=limit)

    def count_to(self, address: str) -> int:
        """Return how many emails an address has been sent, or will be."""
        query = select(func.count()).where(func.lower(emails.c.to_address) == address.lower())
        with reading(self._engine) as connection:
            return connection.execute(query).scalar_one()

    def _newest(self, where: ColumnElement[bool], *, limit: int) -> list[Email]:
        query: Any = SELECT_EMAILS.where(where).order_by(emails.c.seq.desc()).limit(limit)
        with reading(self._engine) as connection:
            return [email_from_row(row) for row in connection.execute(query)]

    def short_ids(self, ids: Iterable[str]) -> dict[str, str]:
        """Return the shortest unique prefix of each id, of at least 8 characters, by id.

        An id that is not in the log is not shortened: only the whole of it can be looked up elsewhere.
        """
        given = list(dict.fromkeys(ids))
        short = dict(zip(given, given, strict=True))
        with reading(self._engine) as connection:
            for row in connection.execute(_NEIGHBOURS, {"ids": given}):
                length = max(_common_length(row.id, other or "") for other in (row.before, row.after)) + 1
                short[row.id] = row.id[: max(_MIN_SHORT_ID_LENGTH, length)]
        return short

    def emails(self, ids: Sequence[str]) -> list[Email]:
        """Return the emails with these ids, in the order in which they were recorded."""
        with reading(self._engine) as connection:
            return [email_from_row(row) for row in connection.execute(_BY_IDS, {"ids": list(ids)})]

    def publishable(self, ids: Sequence[str], *, now: datetime) -> list[Email]:
        """Return the emails with these ids that are pending, not scheduled for later, and not paused."""

        def find() -> list[Email]:
            with reading(self._engine) as connection:
                rows = connection.execute(_PUBLISHABLE, {"ids": list(ids), "now": now})
                return [email_from_row(row) for row in rows]

        return repeat_if_refused(find)

    def find_group(self, email: Email) -> list[Email]:
        """Return the emails that the same call recorded, including the given one, in order."""
        if email.group_id is None:
            return [email]
        return self._select(emails.c.group_id == email.group_id)

    def events(self, email_id: str) -> list[Event]:
        """Return the events of an email, oldest first."""
        with reading(self._engine) as connection:
            return [event_from_row(row) for row in connection.execute(_EVENTS, {"of": email_id})]

    def canary_report(self, canary_id: str) -> list[Json]:
        """Return how each step of a canary went; empty while it is not finished."""
        query = select(emails.c.canary_report).where(emails.c.id == canary_id)
        with reading(self._engine) as connection:
            return connection.execute(query).scalar() or []

    def backlog(self, *, now: datetime) -> Backlog:
        """Return how many emails are still to be sent, as of a point in time."""
        is_waiting = or_(starts_later(now), emails.c.due_at > now + _BACKLOG_HORIZON)
        query = (
            select(func.count().label("all"), func.count().filter(is_waiting).label("waiting"))
            .select_from(emails)
            .where(emails.c.state.in_(_BACKLOG_STATES))
        )
        with reading(self._engine) as connection:
            row = connection.execute(query).one()
        return Backlog(ready=row.all - row.waiting, waiting=row.waiting)

    def count_by_state(self) -> dict[State, int]:
        """Return how many emails are in each state; states without emails are left out."""
        query = select(emails.c.state, func.count()).group_by(emails.c.state)
        with reading(self._engine) as connection:
            return {State(state): count for state, count in connection.execute(query)}

    def is_empty(self) -> bool:
        """Whether the log has no emails."""
        with reading(self._engine) as connection:
            return connection.execute(select(emails.c.seq).limit(1)).first() is None

    def queues_with_unclaimed(self, *, queued_before: datetime) -> list[str]:
        """Return the queues of the messages of emails that were published before a time and not claimed."""
        query = select(message_queue()).where(_was_queued_before(queued_before)).distinct()
        with reading(self._engine) as connection:
            return list(connection.execute(query).scalars())

    def _select(self, where: ColumnElement[bool], *, limit: int | None = None) -> list[Email]:
        query: Any = SELECT_EMAILS.where(where).order_by(emails.c.seq).limit(limit)
        with reading(self._engine) as connection:
            return [email_from_row(row) for row in connection.execute(query)]


def _common_length(first: str, second: str) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(first), len(second)))


def _was_queued_before(queued_before: datetime) -> ColumnElement[bool]:
    """Whether an email was published before a time, to a broker outside the worker processes."""
    return and_(
        emails.c.state == State.QUEUED, emails.c.queued_in.is_(None), emails.c.queued_at < queued_before
    )
