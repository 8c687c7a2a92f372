"""Sessions of the dashboard: which tokens are valid, and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from mailctl.delivery_log.api_keys import ApiKeys
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import web_sessions
from mailctl.delivery_log.web_sessions import (
    SESSION_LIFETIME,
    WebSessions,
    is_session_token,
)

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


@pytest.fixture
def keys(log: Log) -> ApiKeys:
    """The API keys, by the clock of the log."""
    return ApiKeys(log.engine, clock=log.time)


@pytest.fixture
def sessions(log: Log) -> WebSessions:
    """The sessions, by the clock of the log."""
    return WebSessions(log.engine, clock=log.time)


def count(log: Log) -> int:
    """Return how many sessions are stored."""
    with reading(log.engine) as connection:
        return connection.execute(select(func.count()).select_from(web_sessions)).scalar_one()


def test_a_session_is_valid_until_it_ends(keys: ApiKeys, sessions: WebSessions) -> None:
    """Ending one leaves the others."""
    key = keys.create("ada").id
    first, second = sessions.begin(key), sessions.begin(key)
    sessions.end(first)
    assert [sessions.is_valid(first), sessions.is_valid(second)] == [False, True]


@pytest.mark.parametrize("token", ["", "short", "A" * 43, "A" * 43 + "\n"])
def test_an_unknown_token_is_not_valid(token: str, keys: ApiKeys, sessions: WebSessions) -> None:
    """Ending it changes nothing."""
    known = sessions.begin(keys.create("ada").id)
    sessions.end(token)
    assert [sessions.is_valid(token), sessions.is_valid(known)] == [False, True]


def test_a_session_expires(log: Log, keys: ApiKeys, sessions: WebSessions) -> None:
    """The next sign-in deletes its row."""
    key = keys.create("ada").id
    token = sessions.begin(key)
    log.forward(SESSION_LIFETIME.total_seconds() - 1)
    assert sessions.is_valid(token)
    log.forward(1)
    assert not sessions.is_valid(token)
    sessions.begin(key)
    assert count(log) == 1


def test_a_revoked_key_ends_its_sessions(log: Log, keys: ApiKeys, sessions: WebSessions) -> None:
    """Those of other keys go on."""
    revoked, other = keys.create("ada").id, keys.create("bob").id
    tokens = [sessions.begin(revoked), sessions.begin(other)]
    keys.revoke(revoked)
    assert [sessions.is_valid(token) for token in tokens] == [False, True]
    assert count(log) == 1


def test_a_session_without_a_key_is_not_valid(sessions: WebSessions) -> None:
    """Its key may be missing from a restored log."""
    assert not sessions.is_valid(sessions.begin("01ab23cd"))


def test_the_token_itself_is_not_stored(log: Log, keys: ApiKeys, sessions: WebSessions) -> None:
    """Who reads the log cannot use it."""
    token = sessions.begin(keys.create("ada").id)
    with reading(log.engine) as connection:
        assert token not in str(connection.execute(select(web_sessions)).all())
    assert is_session_token(token)
