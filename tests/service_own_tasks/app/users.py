"""The users of the service, in SQLite."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass

from tests.service_own_tasks.app.config import settings

_TABLES = """
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY, email TEXT UNIQUE, username TEXT, first_name TEXT, password TEXT,
    is_verified INTEGER DEFAULT 0
);
CREATE TABLE IF NOT EXISTS addresses (user_id INTEGER, ip TEXT, action TEXT, PRIMARY KEY (user_id, ip));
"""


@dataclass(frozen=True, kw_only=True)
class User:
    """Somebody with an account."""

    id: int
    email: str
    username: str
    first_name: str
    password: str
    is_verified: bool


def execute(statement: str, *values: object) -> list[sqlite3.Row]:
    """Run one statement in a transaction of its own; return its rows."""
    with closing(sqlite3.connect(settings.SERVICE_DATABASE)) as connection, connection:
        connection.row_factory = sqlite3.Row
        connection.executescript(_TABLES)
        return connection.execute(statement, values).fetchall()


def find(column: str, value: object) -> User | None:
    """Return the user with a value in a column; None if there is none."""
    rows = execute(f"SELECT * FROM users WHERE {column} = ?", value)
    return User(**dict(rows[0])) if rows else None


def add(email: str, username: str, first_name: str, password: str) -> User:
    """Add a user who has not verified the address yet."""
    rows = execute(
        "INSERT INTO users (email, username, first_name, password) VALUES (?, ?, ?, ?) RETURNING *",
        *(email, username, first_name, password),
    )
    return User(**dict(rows[0]))
