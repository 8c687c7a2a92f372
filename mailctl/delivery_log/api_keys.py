"""API keys of the dashboard: only a hash of each is stored, and each can be revoked."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import insert, select, update

from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import api_keys
from mailctl.delivery_log.web_sessions import end_sessions_of_key
from mailctl.errors import InvalidInput, NotFound

#: The prefix of every key, by which people and secret scanners recognise one.
PREFIX = "mk"
#: Random bytes in the secret of a key: enough that its hash needs neither salt nor key stretching.
SECRET_BYTES = 32
MAX_NAME_LENGTH = 100
#: The form of every key; anything else is not looked up.
_KEY = re.compile(rf"{PREFIX}_(?P<id>[0-9a-f]{{8}})_[A-Za-z0-9_-]{{43}}")
#: The last use of a key is recorded this often at most, so that not every page costs a write.
_LAST_USED_INTERVAL = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """An API key without its secret, which is not stored."""

    id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    @property
    def is_valid(self) -> bool:
        """Whether the key has not been revoked."""
        return self.revoked_at is None


@dataclass(frozen=True, kw_only=True)
class NewApiKey:
    """A new API key with its secret, which can be read only now."""

    id: str
    name: str
    plaintext: str


class ApiKeys(Repository):
    """Creates, lists, revokes and checks the API keys of a delivery log."""

    def create(self, name: str) -> NewApiKey:
        """Create a key; only this call returns its secret.

        Args:
            name: who or what uses the key, for people.

        Raises:
            InvalidInput: the name is empty, too long, or not one printable line.
            LogUnavailable: the delivery log cannot be written.
        """
        name = name.strip()
        if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
            raise InvalidInput(
                "NAME", f"must be 1 to {MAX_NAME_LENGTH} printable characters.", fix="Choose another name."
            )
        made = generate_api_key(name)
        row = {"id": made.id, "name": name, "digest": _digest(made.plaintext), "created_at": self._clock()}
        with writing(self._engine) as connection:
            connection.execute(insert(api_keys).values(row))
        return made

    def list(self) -> list[ApiKey]:
        """Return all keys, oldest first, including revoked ones."""
        query = select(*_COLUMNS).order_by(api_keys.c.created_at, api_keys.c.id)
        with reading(self._engine) as connection:
            return [ApiKey(**row._asdict()) for row in connection.execute(query)]

    def revoke(self, id_or_name: str) -> ApiKey:
        """Revoke a key, and end the sessions that it started; revoking it again changes nothing.

        Args:
            id_or_name: the id of the key, or its name if no other valid key has it.

        Returns:
            The revoked key.

        Raises:
            NotFound: there is no such key.
            LogUnavailable: the delivery log cannot be written.
        """
        key_id = id_or_name if self._find(id_or_name) else self._id_of_name(id_or_name) or id_or_name
        revoked = update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        with writing(self._engine) as connection:
            connection.execute(revoked.values(revoked_at=self._clock()))
            end_sessions_of_key(connection, key_id)
        found = self._find(key_id)
        if found is None:
            raise NotFound(f"There is no key {id_or_name}.", fix="See `mailctl keys list`.")
        return found

    def _id_of_name(self, name: str) -> str | None:
        """Return the id of the only valid key with this name; None if there is none, or several."""
        ids = [key.id for key in self.list() if key.is_valid and key.name == name]
        return ids[0] if len(ids) == 1 else None

    def has_valid(self) -> bool:
        """Whether any key has not been revoked."""
        query = select(api_keys.c.id).where(api_keys.c.revoked_at.is_(None)).limit(1)
        with reading(self._engine) as connection:
            return connection.execute(query).first() is not None

    def authenticate(self, text: str) -> ApiKey | None:
        """Return the valid key with this plaintext; None if there is none.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        key_id = parse_key_id(text)
        if not key_id:
            return None
        query = select(*_COLUMNS, api_keys.c.digest).where(api_keys.c.id == key_id)
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        if row is None or not hmac.compare_digest(row.digest, _digest(text)):
            return None
        return self._record_use(key_id)

    def _record_use(self, id: str) -> ApiKey | None:
        found, now = self._find(id), self._clock()
        if found is None or not found.is_valid:
            return None
        if found.last_used_at and now - found.last_used_at < _LAST_USED_INTERVAL:
            return found
        with writing(self._engine) as connection:
            connection.execute(update(api_keys).where(api_keys.c.id == id).values(last_used_at=now))
        return found

    def _find(self, id: str) -> ApiKey | None:
        with reading(self._engine) as connection:
            row = connection.execute(select(*_COLUMNS).where(api_keys.c.id == id)).first()
        return None if row is None else ApiKey(**row._asdict())


_COLUMNS = (
    api_keys.c.id,
    api_keys.c.name,
    api_keys.c.created_at,
    api_keys.c.last_used_at,
    api_keys.c.revoked_at,
)


def generate_api_key(name: str) -> NewApiKey:
    """Return a new key; it is not recorded."""
    key_id = secrets.token_hex(4)
    return NewApiKey(
        id=key_id, name=name, plaintext=f"{PREFIX}_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    )


def parse_key_id(text: str) -> str:
    """Return the id within a plaintext key; "" if the text does not have the form of a key."""
    found = _KEY.fullmatch(text)
    return found["id"] if found else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
