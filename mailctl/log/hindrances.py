"""What rules keep emails back with: suppressed addresses, keys that are used once.

Questions only; each is written by the module that owns it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from mailctl.log.database import reading
from mailctl.log.tables import idempotency_keys, suppressions

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Engine


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """An address that nothing is sent to."""

    address: str
    reason: str
    #: bounce, operator or import.
    source: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class UsedKey:
    """An idempotency key, and the email that it stands for."""

    key: str
    email_id: str
    expires_at: datetime


class Hindrances:
    """Reads what keeps emails back.

    Args:
        engine: of the delivery log's database, the schema current.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def suppression(self, address: str) -> Suppression | None:
        """Return why nothing is sent to an address; None if it is not suppressed."""
        columns = (
            suppressions.c.address,
            suppressions.c.reason,
            suppressions.c.source,
            suppressions.c.created_at,
        )
        query = select(*columns).where(suppressions.c.address == address.lower())
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        return None if row is None else Suppression(**row._asdict())

    def key(self, key: str, *, now: datetime) -> UsedKey | None:
        """Return what an idempotency key stands for; None if it is not in use."""
        found = self._keys(idempotency_keys.c.key == key, now=now)
        return found[0] if found else None

    def keys_of(self, email_id: str, *, now: datetime) -> tuple[UsedKey, ...]:
        """Return the idempotency keys that stand for an email."""
        return self._keys(idempotency_keys.c.email_id == email_id, now=now)

    def _keys(self, where: ColumnElement[bool], *, now: datetime) -> tuple[UsedKey, ...]:
        columns = (idempotency_keys.c.key, idempotency_keys.c.email_id, idempotency_keys.c.expires_at)
        query = select(*columns).where(where, idempotency_keys.c.expires_at > now)
        with reading(self._engine) as connection:
            return tuple(UsedKey(**row._asdict()) for row in connection.execute(query))
