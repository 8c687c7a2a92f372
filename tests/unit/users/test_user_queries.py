"""The queries for users that an operator writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text

from mailctl.errors import ConfigurationError
from mailctl.users.user_queries import query_all_users, query_user, require_user_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A database with two users."""
    engine = create_engine("sqlite://")
    with engine.begin() as opened:
        opened.execute(text("CREATE TABLE accounts (nr INTEGER, code TEXT, mail TEXT)"))
        opened.execute(text("INSERT INTO accounts VALUES (1, '007', 'ada@example.com')"))
        opened.execute(text("INSERT INTO accounts VALUES (2, '8', 'bob@example.com')"))
        yield opened
    engine.dispose()


def test_a_user_is_found_by_id(connection: Connection) -> None:
    """In a column of numbers or of text."""
    by_number = query_user(connection, "SELECT mail AS email FROM accounts WHERE nr = :id", "2")
    by_text = query_user(connection, "SELECT mail AS email FROM accounts WHERE code = :id", "007")
    assert by_number is not None
    assert by_text is not None
    assert (by_number.email, by_text.email) == ("bob@example.com", "ada@example.com")
    assert query_user(connection, "SELECT mail AS email FROM accounts WHERE nr = :id", "3") is None


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELECT mail AS email FROM accounts", "must have the parameter :id"),
        ("SELECT mail AS email FROM accounts WHERE nr = :id OR nr = :x", "must have the parameter :id"),
        ("SELECT mail AS email FROM accounts WHERE nr > :id", "returns several rows"),
        ("SELECT mail FROM accounts WHERE nr = :id", "returns no column email"),
        ("SELECT mail AS email, mail AS email FROM accounts WHERE nr = :id", "more than one column email"),
        ("SELECT nope AS email FROM accounts WHERE nr = :id", "cannot be run"),
    ],
)
def test_a_wrong_query_is_a_configuration_error(connection: Connection, query: str, problem: str) -> None:
    """Which names the setting."""
    with pytest.raises(ConfigurationError, match=rf"^MAILCTL_USERS_QUERY .*{problem}"):
        query_user(connection, query, "0")


def test_a_list_query_has_no_parameter(connection: Connection) -> None:
    """It returns all users."""
    result = query_all_users(connection, "SELECT nr AS id, mail AS email FROM accounts")
    require_user_columns(result, "MAILCTL_USERS_LIST_QUERY")
    assert [row.id for row in result] == [1, 2]
    with pytest.raises(ConfigurationError, match=r"^MAILCTL_USERS_LIST_QUERY must have no parameter"):
        query_all_users(connection, "SELECT mail AS email FROM accounts WHERE nr = :id")
