"""Addresses that nothing is sent to: those that do not exist, and those that an operator names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select

from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.raw_insert import find_existing
from mailctl.delivery_log.storage.tables import suppressions
from mailctl.delivery_log.transitions import dialect_insert, insert_or_ignore, utc_now
from mailctl.domain.models import OutcomeKind, ReplyCategory
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine, Row

    from mailctl.domain.models import Outcome

#: Addresses that one statement names: databases limit the number of parameters.
_MAX_ADDRESSES = 500


class SuppressionSource(StrEnum):
    """Who has suppressed an address."""

    BOUNCE = "bounce"
    OPERATOR = "operator"
    IMPORT = "import"


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """An address that nothing is sent to."""

    address: str
    reason: str
    source: SuppressionSource
    code: int | None
    enhanced: str | None
    actor: str | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class SuppressionPage:
    """Some suppressed addresses."""

    entries: tuple[Suppression, ...]
    #: Where to go on; None at the end.
    cursor: str | None


class Suppressions:
    """Keeps the list.

    Args:
        engine: of the delivery log's database, its schema current.
        clock: gives the time.
    """

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._clock = clock

    def add(self, reasons: dict[str, str], *, source: SuppressionSource, actor: str) -> list[str]:
        """Suppress addresses; what is suppressed already stays as it is.

        Args:
            reasons: by address.
            actor: the operator who does it.

        Returns:
            The addresses that are new on the list, in lower case.

        Raises:
            LogUnavailable: the log cannot be written.
        """
        now = self._clock()
        how = {"source": source, "actor": actor, "created_at": now}
        rows = [{"address": address.lower(), "reason": reason} | how for address, reason in reasons.items()]
        new: list[str] = []
        with writing(self._engine) as connection:
            for start in range(0, len(rows), _MAX_ADDRESSES):
                new += _insert_new(connection, rows[start : start + _MAX_ADDRESSES])
        return new

    def remove(self, addresses: Collection[str]) -> list[str]:
        """Let addresses be mailed again; return those that were on the list, in lower case."""
        listed = suppressions.c.address.in_([address.lower() for address in addresses])
        with writing(self._engine) as connection:
            removed = connection.execute(delete(suppressions).where(listed).returning(suppressions.c.address))
            return list(removed.scalars())

    def find(self, address: str) -> Suppression | None:
        """Return why nothing is sent to an address; None if it is not suppressed."""
        query = select(suppressions).where(suppressions.c.address == address.lower())
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        return None if row is None else suppression_from_row(row)

    def page(
        self, *, limit: int, after: str | None = None, source: SuppressionSource | None = None
    ) -> SuppressionPage:
        """Return the list by address.

        Args:
            after: the cursor of the page before.
            source: only those that came this way.
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


#: Made once: making a statement takes longer than asking it, and every email asks this one.
_SELECT_BY_ADDRESSES = select(suppressions).where(
    suppressions.c.address.in_(bindparam("addresses", expanding=True))
)


def is_dead_mailbox(outcome: Outcome) -> bool:
    """Whether a refusal says that the address does not exist, so that no other email can reach it either."""
    return outcome.kind is OutcomeKind.BOUNCED and outcome.category is ReplyCategory.DEAD_MAILBOX


def suppress_dead_mailbox(connection: Connection, address: str, outcome: Outcome, *, now: datetime) -> None:
    """Suppress an address that a mail server says does not exist."""
    row = {
        "address": address.lower(),
        "reason": outcome.reply.text,
        "source": SuppressionSource.BOUNCE,
        "code": outcome.reply.code,
        "enhanced": outcome.reply.enhanced,
        "created_at": now,
    }
    insert_or_ignore(connection, suppressions, row)


def suppression_reasons(connection: Connection, addresses: Collection[str]) -> dict[str, str]:
    """Return why those of the addresses that are suppressed are, by address in lower case."""
    wanted = list({address.lower() for address in addresses})
    # Mostly none is.
    listed = list(find_existing(connection, suppressions.c.address, wanted))
    found: dict[str, str] = {}
    for start in range(0, len(listed), _MAX_ADDRESSES):
        some = listed[start : start + _MAX_ADDRESSES]
        for row in connection.execute(_SELECT_BY_ADDRESSES, {"addresses": some}):
            found[row.address] = explain_suppression(suppression_from_row(row))
    return found


def explain_suppression(entry: Suppression) -> str:
    """Return why nothing is sent to a suppressed address."""
    said = " ".join(str(part) for part in (entry.code, entry.enhanced, entry.reason) if part)
    since = (
        f"the address is suppressed since {format_time(entry.created_at, TimeStyle.DATE)} ({entry.source})"
    )
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
    """Return the entry that a row holds."""
    return Suppression(
        address=row.address,
        reason=row.reason,
        source=SuppressionSource(row.source),
        code=row.code,
        enhanced=row.enhanced,
        actor=row.actor,
        created_at=row.created_at,
    )
