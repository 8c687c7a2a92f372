"""Suppressions: addresses to which nothing is sent, because they do not exist or an operator decided so."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, insert, select, update

from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.batches import as_list, batches, is_listed
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.raw_insert import has_value
from mailctl.delivery_log.storage.tables import suppressions
from mailctl.delivery_log.transitions import dialect_insert, insert_or_ignore
from mailctl.domain.outcomes import OutcomeKind, ReplyCategory
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Dialect, Row, Select

    from mailctl.domain.outcomes import Outcome


class SuppressionSource(StrEnum):
    """The origin of a suppression."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    OPERATOR = "operator"
    IMPORT = "import"


class SuppressionScope(StrEnum):
    """The emails that a suppression stops."""

    ALL = "all"
    #: Only those that a recipient may unsubscribe from; never security emails.
    OPTIONAL = "optional"


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """A suppressed address."""

    address: str
    reason: str
    source: SuppressionSource
    code: int | None
    enhanced: str | None
    actor: str | None
    created_at: datetime
    scope: SuppressionScope = SuppressionScope.ALL
    #: The email whose feedback is the evidence; None if there is none.
    email_id: str | None = None

    def stops(self, *, can_unsubscribe: bool) -> bool:
        """Whether it stops an email, by whether the recipient may unsubscribe from it."""
        return can_unsubscribe or self.scope is SuppressionScope.ALL


@dataclass(frozen=True, kw_only=True)
class SuppressionPage:
    """A page of the list of suppressed addresses."""

    entries: tuple[Suppression, ...]
    #: The `after` of the next page; None on the last.
    cursor: str | None


class Suppressions(Repository):
    """Reads and changes the list of suppressed addresses."""

    def add(self, reasons: dict[str, str], *, source: SuppressionSource, actor: str) -> list[str]:
        """Suppress addresses; those that are suppressed already stay as they are.

        Args:
            reasons: why each address is suppressed, for people, by address.
            actor: the operator who does it.

        Returns:
            The addresses that are new on the list, in lower case.

        Raises:
            LogUnavailable: the delivery log cannot be written.
        """
        now = self._clock()
        how = {"source": source, "actor": actor, "created_at": now}
        rows = [{"address": address.lower(), "reason": reason} | how for address, reason in reasons.items()]
        new: list[str] = []
        with writing(self._engine) as connection:
            for some in batches(rows):
                new += _insert_new(connection, some)
        return new

    def remove(self, addresses: Collection[str]) -> list[str]:
        """Remove addresses from the list; return those that were on it, in lower case."""
        is_given = is_listed(suppressions.c.address, "addresses", self._engine.dialect)
        removed = delete(suppressions).where(is_given).returning(suppressions.c.address)
        given = as_list([address.lower() for address in addresses])
        with writing(self._engine) as connection:
            return list(connection.execute(removed, {"addresses": given}).scalars())

    def find(self, address: str) -> Suppression | None:
        """Return the suppression of an address; None if it is not suppressed."""
        query = select(suppressions).where(suppressions.c.address == address.lower())
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        return None if row is None else suppression_from_row(row)

    def page(
        self, *, limit: int, after: str | None = None, source: SuppressionSource | None = None
    ) -> SuppressionPage:
        """Return a page of the list, in the order of the addresses.

        Args:
            limit: how many addresses at most.
            after: the cursor of the previous page.
            source: only addresses that were suppressed for this cause.
        """
        query = select(suppressions).order_by(suppressions.c.address).limit(limit + 1)
        if after is not None:
            query = query.where(suppressions.c.address > after)
        if source is not None:
            query = query.where(suppressions.c.source == source)
        with reading(self._engine) as connection:
            found = [suppression_from_row(row) for row in connection.execute(query)]
        entries = tuple(found[:limit])
        return SuppressionPage(entries=entries, cursor=entries[-1].address if len(found) > limit else None)


def is_dead_mailbox(outcome: Outcome) -> bool:
    """Whether a refusal says that the address does not exist, so that no other email can reach it either."""
    return outcome.kind is OutcomeKind.REFUSED and outcome.category is ReplyCategory.DEAD_MAILBOX


def suppress_dead_mailbox(connection: Connection, address: str, outcome: Outcome, *, now: datetime) -> None:
    """Suppress an address whose mailbox does not exist, as a mail server has said."""
    suppress(
        connection,
        Suppression(
            address=address.lower(),
            reason=outcome.reply.text,
            source=SuppressionSource.BOUNCE,
            code=outcome.reply.code,
            enhanced=outcome.reply.enhanced,
            actor=None,
            created_at=now,
        ),
    )


def suppress(connection: Connection, entry: Suppression) -> bool:
    """Suppress an address, unless it is suppressed already for as many emails.

    Returns:
        Whether anything changed: the address is new on the list, or now suppressed for all emails.
    """
    row = asdict(entry)
    if insert_or_ignore(connection, suppressions, row):
        return True
    if entry.scope is SuppressionScope.OPTIONAL:
        return False
    is_less = and_(suppressions.c.address == entry.address, suppressions.c.scope == SuppressionScope.OPTIONAL)
    widened = update(suppressions).where(is_less).values(row).returning(suppressions.c.address)
    return connection.execute(widened).first() is not None


def find_suppressions(connection: Connection, addresses: Collection[str]) -> dict[str, Suppression]:
    """Return the suppressions of addresses, by address in lower case; the others are left out."""
    wanted = list({address.lower() for address in addresses})
    # The address of a single email mostly is not.
    if len(wanted) == 1 and not has_value(connection, suppressions.c.address, wanted[0]):
        return {}
    rows = connection.execute(_select_by_addresses(connection.dialect), {"addresses": as_list(wanted)})
    return {row.address: suppression_from_row(row) for row in rows}


@lru_cache(maxsize=16)
def _select_by_addresses(dialect: Dialect) -> Select[Any]:
    return select(suppressions).where(is_listed(suppressions.c.address, "addresses", dialect))


def explain_suppression(entry: Suppression) -> str:
    """Return one sentence, without a full stop, that says why an address is suppressed."""
    said = " ".join(str(part) for part in (entry.code, entry.enhanced, entry.reason) if part)
    which = "" if entry.scope is SuppressionScope.ALL else " for emails that can be unsubscribed from"
    date = format_time(entry.created_at, TimeStyle.DATE)
    since = f"the address has been suppressed{which} since {date} ({entry.source})"
    return f"{since}: {said}" if said else since


def _insert_new(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[str]:
    if connection.dialect.name == "postgresql":
        statement = dialect_insert(connection, suppressions).on_conflict_do_nothing()
        return list(connection.execute(statement.returning(suppressions.c.address), rows).scalars())
    # Nobody else writes during this transaction.
    addresses = [row["address"] for row in rows]
    query = select(suppressions.c.address).where(suppressions.c.address.in_(addresses))
    known = set(connection.execute(query).scalars())
    new = {row["address"]: row for row in rows if row["address"] not in known}
    if new:
        connection.execute(insert(suppressions), list(new.values()))
    return list(new)


def suppression_from_row(row: Row[Any]) -> Suppression:
    """Return the suppression in a row of the table."""
    return Suppression(
        address=row.address,
        reason=row.reason,
        source=SuppressionSource(row.source),
        code=row.code,
        enhanced=row.enhanced,
        actor=row.actor,
        created_at=row.created_at,
        scope=SuppressionScope(row.scope),
        email_id=row.email_id,
    )
