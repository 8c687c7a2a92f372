"""Idempotency keys: a call that is repeated with its key returns the emails of the first one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from mailctl.delivery_log.storage import encryption
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import idempotency_keys
from mailctl.delivery_log.transitions import insert_or_ignore
from mailctl.errors import IdempotencyConflict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Engine

    from mailctl.domain.models import Draft
    from mailctl.security.keyring import Keyring


@dataclass(frozen=True, kw_only=True)
class IdempotencyKey:
    """An idempotency key and the first email of the call that used it."""

    key: str
    email_id: str
    expires_at: datetime


class IdempotencyKeys:
    """Finds idempotency keys.

    Args:
        engine: of the delivery log's database, with the current schema.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, key: str, *, now: datetime) -> IdempotencyKey | None:
        """Return an idempotency key with its email; None if it is not in use."""
        found = self._select(idempotency_keys.c.key == key, now=now)
        return found[0] if found else None

    def find_by_email(self, email_id: str, *, now: datetime) -> tuple[IdempotencyKey, ...]:
        """Return the idempotency keys whose calls recorded an email."""
        return self._select(idempotency_keys.c.email_id == email_id, now=now)

    def _select(self, where: ColumnElement[bool], *, now: datetime) -> tuple[IdempotencyKey, ...]:
        columns = (idempotency_keys.c.key, idempotency_keys.c.email_id, idempotency_keys.c.expires_at)
        query = select(*columns).where(where, idempotency_keys.c.expires_at > now)
        with reading(self._engine) as connection:
            return tuple(IdempotencyKey(**row._asdict()) for row in connection.execute(query))


def register_key(
    connection: Connection, drafts: Sequence[Draft], keyring: Keyring, *, now: datetime, expires_at: datetime
) -> str | None:
    """Record the idempotency key of the call that records these emails.

    If another transaction has inserted the same key and not ended yet, this waits for it: of two calls at the
    same time only one records its emails.

    Args:
        connection: in the transaction that records the emails.
        drafts: the idempotency key and the id of the first stand for all.
        expires_at: until when the key is remembered.

    Returns:
        The id that an earlier call with this key returned; None if the key is new, or the call has none.

    Raises:
        IdempotencyConflict: the earlier call had other content.
    """
    key = drafts[0].request.idempotency_key
    if key is None:
        return None
    has_key = idempotency_keys.c.key == key
    connection.execute(delete(idempotency_keys).where(has_key, idempotency_keys.c.expires_at <= now))
    prints = encryption.fingerprints(drafts[0].kind, [draft.content for draft in drafts], keyring)
    row = {"key": key, "email_id": drafts[0].id, "fingerprint": prints[0], "expires_at": expires_at}
    if insert_or_ignore(connection, idempotency_keys, row):
        return None
    known = connection.execute(select(idempotency_keys).where(has_key)).one()
    if known.fingerprint not in prints:
        raise IdempotencyConflict(
            f"The idempotency key {key!r} was used for different content (email {known.email_id}).",
            fix="Use a new key for a new email, or repeat the call unchanged.",
        )
    return str(known.email_id)
