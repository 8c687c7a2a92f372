"""A service with users of every kind, on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.users import ExcludedUser, Screening, ServiceUserDirectory
from tests.integration.commands import execute_sql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailctl.domain.models import RowProblem, User
    from tests.integration.commands import Mailctl


#: By database: what its own types are for flags and times.
TYPES = {"sqlite": ("BOOLEAN", "DATETIME"), "postgresql": ("BOOLEAN", "TIMESTAMPTZ")}
TRUE = {"sqlite": ("1", "0"), "postgresql": ("TRUE", "FALSE")}
LIST_QUERY = "SELECT id AS id, email, username FROM users WHERE deleted_at IS NULL ORDER BY email"
ONE_QUERY = "SELECT * FROM users WHERE id = :id"


@pytest.fixture(params=["sqlite", "postgresql"])
def shop_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The database of a service: of its users, Ada and Eve may be mailed."""
    kind = str(request.param)
    url = f"sqlite:///{tmp_path / 'shop.db'}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    flag, moment = TYPES[kind]
    yes, no = TRUE[kind]
    execute_sql(
        url,
        f"CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, username TEXT, is_active {flag},"
        f" deleted_at {moment}, status TEXT)",
        f"INSERT INTO users VALUES (1, 'ada@example.com', 'ada', {yes}, NULL, 'ok')",
        f"INSERT INTO users VALUES (2, 'bob@example.com', 'bob', {no}, NULL, 'ok')",
        f"INSERT INTO users VALUES (3, 'cyd@example.com', 'cyd', {yes}, '2020-01-01 00:00:00', 'ok')",
        f"INSERT INTO users VALUES (4, 'no address', 'dan', {yes}, NULL, 'ok')",
        f"INSERT INTO users VALUES (5, 'eve@example.com', 'eve', {yes}, '2999-01-01 00:00:00', 'new')",
        f"INSERT INTO users VALUES (6, 'fay@example.com', 'fay', {yes}, NULL, 'banned')",
    )
    return str(url)


@pytest.fixture
def shop(shop_url: str, mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch) -> Mailctl:
    """Runs a command beside that service."""
    monkeypatch.setenv("DATABASE_URL", shop_url)
    return mailctl


@pytest.fixture
def directory(shop_url: str) -> Iterator[ServiceUserDirectory]:
    made = ServiceUserDirectory(shop_url)
    yield made
    made.close()


def everybody(directory: ServiceUserDirectory) -> list[User | ExcludedUser | RowProblem]:
    return list(directory.iter_users(screening=Screening.FULL))


def recorded(mailctl: Mailctl) -> set[str]:
    """Return the addresses of all emails in the log."""
    ran = mailctl("list", "--json")
    return {email["to"] for email in ran.lines} if ran.code == 0 else set()
