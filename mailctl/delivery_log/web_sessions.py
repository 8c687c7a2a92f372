"""Sessions of the dashboard: rows that end when their user signs out or their key is revoked, or expire."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import api_keys, web_sessions

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

#: A session ends after a working day.
SESSION_LIFETIME = timedelta(hours=12)
#: Random bytes in a token: enough that its hash needs neither salt nor key stretching.
_TOKEN_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


class WebSessions(Repository):
    """Begins, finds and ends the sessions of a delivery log; only a hash of each token is stored."""

    def begin(self, key_id: str) -> str:
        """Begin a session, and return its token, which only this call returns.

        Args:
            key_id: the id of the API key that was given.

        Raises:
            LogUnavailable: the delivery log cannot be written.
        """
        token, now = new_session_token(), self._clock()
        row = {"digest": session_digest(token), "key_id": key_id, "created_at": now}
        with writing(self._engine) as connection:
            delete_expired_sessions(connection, now=now)
            connection.execute(insert(web_sessions).values(**row, expires_at=now + SESSION_LIFETIME))
        return token

    def is_valid(self, token: str) -> bool:
        """Whether a token is that of a session that has not ended.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        if not is_session_token(token):
            return False
        query = (
            select(web_sessions.c.key_id)
            .join(api_keys, api_keys.c.id == web_sessions.c.key_id)
            .where(
                web_sessions.c.digest == session_digest(token),
                web_sessions.c.expires_at > self._clock(),
                api_keys.c.revoked_at.is_(None),
            )
        )
        with reading(self._engine) as connection:
            return connection.execute(query).first() is not None

    def end(self, token: str) -> None:
        """End a session; an unknown token changes nothing.

        Raises:
            LogUnavailable: the delivery log cannot be written.
        """
        if is_session_token(token):
            with writing(self._engine) as connection:
                connection.execute(delete(web_sessions).where(web_sessions.c.digest == session_digest(token)))


def new_session_token() -> str:
    """Return a random token."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def is_session_token(text: str) -> bool:
    """Whether a text has the form of a token."""
    return _TOKEN.fullmatch(text) is not None


def session_digest(token: str) -> str:
    """Return the hash of a token that is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def end_sessions_of_key(connection: Connection, key_id: str) -> None:
    """End all sessions that began with a key."""
    connection.execute(delete(web_sessions).where(web_sessions.c.key_id == key_id))


def delete_expired_sessions(connection: Connection, *, now: datetime) -> None:
    """Delete the rows of sessions that have expired."""
    connection.execute(delete(web_sessions).where(web_sessions.c.expires_at <= now))
