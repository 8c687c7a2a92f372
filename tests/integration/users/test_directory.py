"""The database of a service is only read, and an error names it without its password."""

from __future__ import annotations

import sqlite3
import stat
from typing import TYPE_CHECKING

import pytest
import sqlalchemy

from mailctl.errors import (
    ConfigurationError,
    UserDirectoryUnavailable,
)
from mailctl.settings import Settings
from mailctl.users import (
    EmbeddedUserDirectory,
    ServiceUserDirectory,
    open_user_directory,
)
from tests.integration.commands import execute_sql
from tests.integration.users.service_users import URSULA, USERS, get
from tests.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path


class TestManners:
    def test_a_missing_sqlite_file_is_not_made(self, tmp_path: Path) -> None:
        """A typing error in DATABASE_URL says so and leaves no empty database behind."""
        path = tmp_path / "typo.db"
        with pytest.raises(UserDirectoryUnavailable, match=r"typo\.db, does not exist"):
            get(f"sqlite:///{path}", "1")
        assert not path.exists()

    def test_the_journal_mode_stays_as_it_is(self, tmp_path: Path) -> None:
        """The database is the service's: nothing about it changes."""
        path = tmp_path / "app.db"
        execute_sql(f"sqlite:///{path}", *USERS)
        before = path.read_bytes()
        get(f"sqlite:///{path}", "42")
        assert path.read_bytes() == before
        assert [each.name for each in tmp_path.iterdir()] == ["app.db"]

    def test_odd_characters_in_the_path_are_part_of_it(self, tmp_path: Path) -> None:
        """The file is opened by URI, in which `?`, `#` and `%` mean something."""
        # In SQLAlchemy 2.0 a URL cannot spell a question mark in a path.
        folder = tmp_path / ("a #c%20" if sqlalchemy.__version__.startswith("2.0.") else "a?b #c%20")
        folder.mkdir()
        connection = sqlite3.connect(folder / "app.db")
        for statement in USERS:
            connection.execute(statement)
        connection.commit()
        connection.close()
        url = sqlalchemy.URL.create("sqlite", database=str(folder / "app.db"))
        assert get(url.render_as_string(), "42") == URSULA

    def test_a_service_that_writes_is_not_in_the_way(self, tmp_path: Path) -> None:
        """In WAL mode a reader reads what was committed, while a writer holds the lock."""
        path = tmp_path / "app.db"
        execute_sql(f"sqlite:///{path}", *USERS)
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE users SET email = 'changed@example.com'")
        try:
            assert get(f"sqlite:///{path}", "42") == URSULA
        finally:
            writer.close()

    def test_a_file_that_is_no_database_is_unusable(self, tmp_path: Path) -> None:
        """The driver's words are kept."""
        path = tmp_path / "app.db"
        path.write_text("This is not a database, however long one looks at it." * 20)
        with pytest.raises(UserDirectoryUnavailable, match="not a database"):
            get(f"sqlite:///{path}", "1")

    @pytest.mark.parametrize(
        "secret_place", ["user:hunter2@127.0.0.1:{port}/app", "127.0.0.1:{port}/app?password=hunter2"]
    )
    def test_an_unreachable_server_is_named_without_its_password(self, secret_place: str) -> None:
        """The text says where nobody answers; the password is in none of the chain's own texts."""
        url = f"postgresql://{secret_place.format(port=free_port())}"
        with pytest.raises(
            UserDirectoryUnavailable, match=r"the database of users at postgresql.*127\.0\.0\.1"
        ) as caught:
            get(url, "1")
        error: BaseException | None = caught.value
        while error is not None:
            assert "hunter2" not in str(error)
            error = error.__cause__

    @pytest.mark.parametrize("url", ["nonsense", "postgresql://host:port/app", "oracle9://host/app"])
    def test_what_is_no_address_is_a_matter_of_configuration(self, url: str) -> None:
        """DATABASE_URL is named, its value is not: it may hold a password."""
        with pytest.raises(ConfigurationError, match=r"^DATABASE_URL"):
            get(url, "1")

    def test_closing_what_was_never_opened_is_fine(self) -> None:
        """Nothing is opened before the first question."""
        ServiceUserDirectory("nonsense").close()


def test_the_service_s_database_wins(engine: sqlalchemy.Engine, service_url: str) -> None:
    """DATABASE_URL decides where users are looked up."""
    execute_sql(service_url, *USERS)
    directory = open_user_directory(Settings(database_url=service_url), engine)
    assert isinstance(directory, ServiceUserDirectory)
    assert directory.get("42") == URSULA
    directory.close()


@pytest.mark.parametrize(("debug", "count"), [(True, 3), (False, 0)])
def test_without_a_database_our_table_serves(engine: sqlalchemy.Engine, debug: bool, count: int) -> None:
    """In development it comes with demo users."""
    directory = open_user_directory(Settings(debug=debug), engine)
    assert isinstance(directory, EmbeddedUserDirectory)
    assert len(directory.list_users()) == count
    directory.close()


def test_the_query_setting_reaches_the_directory(engine: sqlalchemy.Engine, service_url: str) -> None:
    """MAILCTL_USERS_QUERY is used where DATABASE_URL is set."""
    execute_sql(service_url, *USERS)
    query = "SELECT id, 'other@example.com' AS email FROM users WHERE id = :id"
    directory = open_user_directory(Settings(database_url=service_url, mailctl_users_query=query), engine)
    assert directory.get("42").email == "other@example.com"
    directory.close()


def test_a_database_that_may_only_be_read_is_enough(tmp_path: Path) -> None:
    """mailctl's user needs no right to write to the service's database."""
    path = tmp_path / "app.db"
    execute_sql(f"sqlite:///{path}", *USERS)
    path.chmod(stat.S_IRUSR)
    assert get(f"sqlite:///{path}", "42") == URSULA
