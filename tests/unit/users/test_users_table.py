"""The users table of a service is found by reflection."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from sqlalchemy import CHAR, BigInteger, Integer, String, create_engine, text
from sqlalchemy.types import NullType, Uuid

from mailctl.errors import ConfigurationError, InvalidInput
from mailctl.users.user_queries import parse_uuid
from mailctl.users.users_table import find_users_table, stored_id_values

ID = uuid.UUID("12345678-1234-5678-1234-567812345678")


def columns_of(*statements: str) -> tuple[str, list[str]]:
    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
            found = find_users_table(connection)
    finally:
        engine.dispose()
    return found.name, [column.name for column in found.columns]


def test_the_table_has_one_of_a_few_names() -> None:
    """`users` comes first, if it has the columns; then that of Django."""
    user = "CREATE TABLE user (id INTEGER, email TEXT)"
    assert columns_of(user)[0] == "user"
    assert columns_of(user, "CREATE TABLE users (id INTEGER, email TEXT)")[0] == "users"
    assert columns_of(user, "CREATE TABLE users (id INTEGER, name TEXT)")[0] == "user"
    assert columns_of("CREATE TABLE auth_user (id INTEGER, email TEXT)")[0] == "auth_user"


def test_only_columns_that_matter_are_read() -> None:
    """Not the password."""
    _, columns = columns_of(
        "CREATE TABLE users (password TEXT, is_active BOOL, email TEXT, id INT, username TEXT)"
    )
    assert columns == ["id", "email", "username", "is_active"]


def test_without_a_table_a_query_is_needed() -> None:
    """The error has an example."""
    with pytest.raises(
        ConfigurationError, match="no table users, user, auth_user or users_user with"
    ) as caught:
        columns_of("CREATE TABLE people (id INTEGER, email TEXT)")
    assert "MAILCTL_USERS_QUERY" in caught.value.fix


@pytest.mark.parametrize(
    ("kind", "user_id", "values"),
    [
        (Integer(), "7", [7]),
        (BigInteger(), str(2**63), []),
        (String(), "7", ["7"]),
        (CHAR(32), str(ID), [str(ID), ID.hex, str(ID)]),
        (Uuid(), ID.hex, [ID]),
        (NullType(), "7", [7]),
        (NullType(), "zoe", ["zoe"]),
    ],
)
def test_an_id_is_compared_as_it_is_stored(kind: Any, user_id: str, values: list[object]) -> None:
    """PostgreSQL compares values of the same type only."""
    assert stored_id_values(kind, user_id) == values


@pytest.mark.parametrize(("kind", "problem"), [(Integer(), "must be a number"), (Uuid(), "must be a UUID")])
def test_an_id_of_another_type_is_refused(kind: Any, problem: str) -> None:
    """No user can have it."""
    with pytest.raises(InvalidInput, match=problem):
        stored_id_values(kind, "zoe")


def test_a_uuid_has_several_spellings() -> None:
    """Another text is not one."""
    assert parse_uuid(ID.hex) == parse_uuid(str(ID).upper()) == ID
    assert parse_uuid("7") is None
