"""Unsubscribes: recipients who want no more emails of a kind. They never stop security emails."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, exists, func, select, tuple_

from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.batches import as_list, is_listed
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.raw_insert import is_empty
from mailctl.delivery_log.storage.tables import emails, unsubscribes
from mailctl.delivery_log.transitions import insert_or_ignore
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Dialect, Row, Select


@dataclass(frozen=True, kw_only=True)
class Unsubscribe:
    """A recipient who wants no more emails of a kind."""

    #: In lower case.
    address: str
    kind: str
    created_at: datetime
    #: The email by which the recipient unsubscribed; None if it is not known.
    email_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class UnsubscribePage:
    """A page of the list of unsubscribes."""

    entries: tuple[Unsubscribe, ...]
    #: The `after` of the next page; None on the last.
    cursor: str | None


class Unsubscribes(Repository):
    """Reads and changes which recipients have unsubscribed from which kinds."""

    def add(self, address: str, *, kind: str, email_id: str | None = None) -> bool:
        """Record that a recipient wants no more emails of a kind; return whether that is new.

        Raises:
            LogUnavailable: the delivery log cannot be written.
        """
        with writing(self._engine) as connection:
            return unsubscribe(connection, address, kind=kind, email_id=email_id, now=self._clock())

    def remove(self, addresses: Collection[str], *, kind: str) -> list[str]:
        """Subscribe addresses again to a kind; return those that had unsubscribed, in lower case.

        Raises:
            LogUnavailable: the delivery log cannot be written.
        """
        is_given = is_listed(unsubscribes.c.address, "addresses", self._engine.dialect)
        where = and_(is_given, unsubscribes.c.kind == kind)
        removed = delete(unsubscribes).where(where).returning(unsubscribes.c.address)
        given = as_list([address.lower() for address in addresses])
        with writing(self._engine) as connection:
            return list(connection.execute(removed, {"addresses": given}).scalars())

    def find(self, address: str, *, kind: str) -> Unsubscribe | None:
        """Return since when a recipient wants no more emails of a kind; None if that is not so."""
        where = and_(unsubscribes.c.address == address.lower(), unsubscribes.c.kind == kind)
        with reading(self._engine) as connection:
            row = connection.execute(select(unsubscribes).where(where)).first()
        return None if row is None else _from_row(row)

    def page(self, *, limit: int, after: str | None = None) -> UnsubscribePage:
        """Return a page of the list, in the order of addresses and kinds.

        Args:
            limit: how many at most.
            after: the cursor of the previous page.
        """
        key = tuple_(unsubscribes.c.address, unsubscribes.c.kind)
        query = select(unsubscribes).order_by(unsubscribes.c.address, unsubscribes.c.kind).limit(limit + 1)
        if after is not None:
            address, _, kind = after.partition(" ")
            query = query.where(key > (address, kind))
        with reading(self._engine) as connection:
            found = [_from_row(row) for row in connection.execute(query)]
        entries = tuple(found[:limit])
        last = f"{entries[-1].address} {entries[-1].kind}" if len(found) > limit else None
        return UnsubscribePage(entries=entries, cursor=last)


def unsubscribe(
    connection: Connection, address: str, *, kind: str, email_id: str | None, now: datetime
) -> bool:
    """Record that a recipient wants no more emails of a kind; return whether that is new."""
    row = {"address": address.lower(), "kind": kind, "created_at": now, "email_id": email_id}
    return insert_or_ignore(connection, unsubscribes, row)


def find_unsubscribes(
    connection: Connection, addresses: Collection[str]
) -> dict[tuple[str, str], Unsubscribe]:
    """Return what recipients have unsubscribed from, by address in lower case and kind."""
    # A service whose emails have no such link has none, and lists of thousands of addresses.
    if not addresses or is_empty(connection, unsubscribes.c.address):
        return {}
    wanted = {address.lower() for address in addresses}
    rows = connection.execute(_select_by_addresses(connection.dialect), {"addresses": as_list(wanted)})
    return {(entry.address, entry.kind): entry for entry in map(_from_row, rows)}


@lru_cache(maxsize=16)
def _select_by_addresses(dialect: Dialect) -> Select[Any]:
    return select(unsubscribes).where(is_listed(unsubscribes.c.address, "addresses", dialect))


def has_unsubscribed() -> ColumnElement[bool]:
    """Return the condition that the recipient of an email has unsubscribed from such emails."""
    is_same = and_(
        unsubscribes.c.address == func.lower(emails.c.to_address), unsubscribes.c.kind == emails.c.kind
    )
    return and_(emails.c.can_unsubscribe.is_(True), exists().where(is_same).correlate(emails))


def explain_unsubscribe(entry: Unsubscribe) -> str:
    """Return one sentence, without a full stop, that says what a recipient has unsubscribed from."""
    since = format_time(entry.created_at, TimeStyle.DATE)
    return f"its recipient unsubscribed from emails of kind {entry.kind} on {since}"


def _from_row(row: Row[Any]) -> Unsubscribe:
    return Unsubscribe(address=row.address, kind=row.kind, created_at=row.created_at, email_id=row.email_id)
