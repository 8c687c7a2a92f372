"""Looking users up in the database of a service, which is never written to."""

from __future__ import annotations

import sqlite3
import stat
import uuid
from typing import TYPE_CHECKING

import pytest
import sqlalchemy

from mailctl.delivery_log.storage.urls import parse_url
from mailctl.domain.models import User
from mailctl.errors import (
    ConfigurationError,
    InvalidInput,
    NotFound,
    Refused,
    UserDirectoryUnavailable,
)
from mailctl.settings import Settings
from mailctl.users import (
    EmbeddedUserDirectory,
    Screening,
    ServiceUserDirectory,
    open_user_directory,
)
from tests.integration.commands import execute_sql
from tests.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path


USERS = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, username TEXT, first_name TEXT, password TEXT)",
    "INSERT INTO users VALUES (42, 'u@example.com', 'u', 'Ursula', 'secret')",
)


URSULA = User(id="42", email="u@example.com", username="u", first_name="Ursula")


def get(url: str, user_id: str, *, query: str = "") -> User:
    directory = ServiceUserDirectory(url, query=query)
    try:
        return directory.get(user_id)
    finally:
        directory.close()


def describe(url: str, *, query: str = "") -> str:
    directory = ServiceUserDirectory(url, query=query)
    try:
        return directory.describe()
    finally:
        directory.close()


class TestTableOfTheService:
    def test_the_record_of_a_user_has_all_columns(self, service_url: str) -> None:
        """As the database has them: the id is a number here."""
        execute_sql(service_url, *USERS)
        directory = ServiceUserDirectory(service_url)
        assert directory.find_record("42") == {
            "id": 42,
            "email": "u@example.com",
            "username": "u",
            "first_name": "Ursula",
            "password": "secret",
        }
        with pytest.raises(NotFound, match="no user 7 in table users"):
            directory.find_record("7")
        directory.close()

    def test_the_record_of_a_query_has_its_columns(self, service_url: str) -> None:
        """Whatever it selects."""
        execute_sql(service_url, *USERS)
        query = "SELECT id, email, password AS secret FROM users WHERE id = :id"
        directory = ServiceUserDirectory(service_url, query=query)
        assert directory.find_record("42") == {"id": 42, "email": "u@example.com", "secret": "secret"}
        directory.close()

    def test_finds_a_user_by_id(self, service_url: str) -> None:
        """Columns are found by their names; the others of the table are of no interest."""
        execute_sql(service_url, *USERS)
        assert get(service_url, "42") == URSULA

    def test_takes_async_driver_names(self, service_url: str) -> None:
        """DATABASE_URL is the service's, which may name a driver that only its own event loop can use."""
        execute_sql(service_url, *USERS)
        url = service_url.replace("sqlite://", "sqlite+aiosqlite://")
        url = url.replace("postgresql://", "postgresql+asyncpg://")
        assert get(url, "42") == URSULA

    def test_knows_a_table_named_user(self, service_url: str) -> None:
        """`user` is as good a name, though PostgreSQL reserves the word."""
        execute_sql(
            service_url,
            'CREATE TABLE "user" (id INTEGER PRIMARY KEY, email TEXT)',
            "INSERT INTO \"user\" VALUES (1, 'a@example.com')",
        )
        assert get(service_url, "1") == User(id="1", email="a@example.com")

    def test_prefers_the_table_that_has_the_columns(self, service_url: str) -> None:
        """A table `users` of another purpose does not hide the real one."""
        execute_sql(
            service_url,
            "CREATE TABLE users (name TEXT)",
            'CREATE TABLE "user" (id INTEGER PRIMARY KEY, email TEXT)',
            "INSERT INTO \"user\" VALUES (1, 'a@example.com')",
        )
        assert get(service_url, "1").email == "a@example.com"

    def test_null_names_are_empty(self, service_url: str) -> None:
        """A user without a name is a user."""
        execute_sql(service_url, USERS[0], "INSERT INTO users (id, email) VALUES (1, 'a@example.com')")
        assert get(service_url, "1") == User(id="1", email="a@example.com")

    def test_says_which_user_is_missing_and_where(self, service_url: str) -> None:
        """NotFound names the id, the table and what to check."""
        execute_sql(service_url, *USERS)
        with pytest.raises(NotFound, match=r"^There is no user 43 in table users\.$") as caught:
            get(service_url, "43")
        assert caught.value.fix == "Check DATABASE_URL or MAILCTL_USERS_QUERY."

    @pytest.mark.parametrize("user_id", ["2147483648", "9223372036854775807", "9" * 64])
    def test_a_number_too_large_for_the_column_is_nobody(self, service_url: str, user_id: str) -> None:
        """A number out of the column's range is an id that no user has, not an unreachable database."""
        execute_sql(service_url, *USERS)
        with pytest.raises(NotFound):
            get(service_url, user_id)

    @pytest.mark.parametrize("user_id", ["abc", "-1", "4 2", "²", "1; DROP TABLE users", "42 OR 1=1"])
    def test_only_digits_are_integer_ids(self, service_url: str, user_id: str) -> None:
        """Where ids are numbers, anything else is wrong usage."""
        execute_sql(service_url, *USERS)
        with pytest.raises(InvalidInput, match="user id"):
            get(service_url, user_id)

    @pytest.mark.parametrize("user_id", ["", "x" * 65, "a\x00b", "4\n2", "\ud800"])
    def test_no_driver_sees_an_impossible_id(self, service_url: str, user_id: str) -> None:
        """Control characters, NUL and lone surrogates end at the gate."""
        with pytest.raises(InvalidInput, match="user id"):
            get(service_url, user_id)

    def test_text_ids_are_compared_as_they_are(self, service_url: str) -> None:
        """Leading zeros count where ids are text."""
        execute_sql(
            service_url,
            "CREATE TABLE users (id VARCHAR(20) PRIMARY KEY, email TEXT)",
            "INSERT INTO users VALUES ('007', 'bond@example.com'), ('7', 'other@example.com')",
        )
        assert get(service_url, "007") == User(id="007", email="bond@example.com")

    def test_numeric_ids_are_found(self, service_url: str) -> None:
        """NUMERIC is a strange type for an id, and harmless."""
        execute_sql(
            service_url,
            "CREATE TABLE users (id NUMERIC PRIMARY KEY, email TEXT)",
            "INSERT INTO users VALUES (7, 'a@example.com')",
        )
        assert get(service_url, "7") == User(id="7", email="a@example.com")

    def test_uuid_ids_are_found_in_any_spelling(self, service_url: str) -> None:
        """As SQLAlchemy stores them: a UUID on PostgreSQL, CHAR(32) without dashes on SQLite."""
        metadata = sqlalchemy.MetaData()
        table = sqlalchemy.Table(
            "users",
            metadata,
            sqlalchemy.Column("id", sqlalchemy.Uuid, primary_key=True),
            sqlalchemy.Column("email", sqlalchemy.String),
        )
        engine = sqlalchemy.create_engine(parse_url(service_url, setting="X"))
        key = uuid.uuid4()
        with engine.begin() as connection:
            metadata.create_all(connection)
            connection.execute(table.insert().values(id=key, email="a@example.com"))
        engine.dispose()
        for spelling in (str(key), str(key).upper()):
            assert get(service_url, spelling) == User(id=str(key), email="a@example.com")
        assert get(service_url, key.hex).email == "a@example.com"
        with pytest.raises(NotFound):
            get(service_url, str(uuid.uuid4()))

    def test_only_a_uuid_is_a_uuid_id(self, postgres_url: str) -> None:
        """PostgreSQL has a type for UUIDs and takes nothing else."""
        execute_sql(postgres_url, "CREATE TABLE users (id UUID PRIMARY KEY, email TEXT)")
        with pytest.raises(InvalidInput, match="must be a UUID"):
            get(postgres_url, "42")

    @pytest.mark.parametrize("stored", ["'not an address'", "'a@example.com, b@example.com'", "NULL", "''"])
    def test_an_unusable_stored_address_names_the_user(self, service_url: str, stored: str) -> None:
        """What the service stored is input as any other; the text names the user and not the address."""
        execute_sql(service_url, USERS[0], f"INSERT INTO users (id, email) VALUES (7, {stored})")
        with pytest.raises(InvalidInput, match=r"^the stored email address of user 7 "):
            get(service_url, "7")

    def test_no_such_table_is_a_matter_of_configuration(self, service_url: str) -> None:
        """The fix is the query setting."""
        with pytest.raises(
            ConfigurationError, match="no table users, user, auth_user or users_user"
        ) as caught:
            get(service_url, "1")
        assert caught.value.fix.startswith("Set MAILCTL_USERS_QUERY")

    def test_describes_itself(self, service_url: str) -> None:
        """One line: table, database, number of users."""
        execute_sql(service_url, *USERS)
        line = describe(service_url)
        assert line.startswith("table users in ")
        assert line.endswith(", 1 user")


class TestQueryOfTheService:
    ACCOUNTS = (
        "CREATE TABLE accounts (nr INTEGER PRIMARY KEY, code TEXT, mail TEXT)",
        "INSERT INTO accounts VALUES (42, '0042', 'u@example.com')",
    )

    @pytest.mark.parametrize(
        ("condition", "user_id"),
        [
            ("nr = :id", "42"),
            ("nr + 0 = :id", "42"),
            ("code = :id", "0042"),
            ("nr = CAST(:id AS INTEGER)", "42"),
        ],
    )
    def test_finds_a_user_whatever_the_type(self, service_url: str, condition: str, user_id: str) -> None:
        """The same id works for numbers, for expressions and for text."""
        execute_sql(service_url, *self.ACCOUNTS)
        query = f"SELECT nr AS id, mail AS email FROM accounts WHERE {condition}"
        assert get(service_url, user_id, query=query) == User(id="42", email="u@example.com")

    @pytest.mark.parametrize("condition", ["nr = :id::integer", "nr::text = :id", "nr = :id::text::integer"])
    def test_knows_the_casts_of_postgresql(self, postgres_url: str, condition: str) -> None:
        """`:id::integer` holds the parameter `:id`."""
        execute_sql(postgres_url, *self.ACCOUNTS)
        query = f"SELECT nr AS id, mail AS email FROM accounts WHERE {condition}"
        assert get(postgres_url, "42", query=query).email == "u@example.com"

    def test_without_an_id_column_the_id_is_the_one_asked_for(self, service_url: str) -> None:
        """Only `email` is required of a query."""
        execute_sql(service_url, *self.ACCOUNTS)
        query = "SELECT mail AS email FROM accounts WHERE nr = :id"
        assert get(service_url, "42", query=query) == User(id="42", email="u@example.com")

    @pytest.mark.parametrize("user_id", ["43", "abc", "99999999999999999999"])
    def test_an_id_that_no_user_can_have_is_nobody(self, service_url: str, user_id: str) -> None:
        """With a query the type of the id is unknown: what cannot match is not found."""
        execute_sql(service_url, *self.ACCOUNTS)
        with pytest.raises(
            NotFound, match=f"There is no user {user_id} in the result of MAILCTL_USERS_QUERY"
        ):
            get(service_url, user_id, query="SELECT mail AS email FROM accounts WHERE nr = :id")

    def test_uuid_ids_are_found_in_any_spelling(self, service_url: str) -> None:
        """As SQLAlchemy stores them, like those of a table."""
        kind = "UUID" if service_url.startswith("postgresql") else "CHAR(32)"
        key = uuid.uuid4()
        execute_sql(
            service_url,
            f"CREATE TABLE people (id {kind} PRIMARY KEY, email TEXT)",
            f"INSERT INTO people VALUES ('{key.hex}', 'a@example.com')",
        )
        query = "SELECT email FROM people WHERE id = :id"
        for spelling in (str(key), key.hex, str(key).upper()):
            assert get(service_url, spelling, query=query).email == "a@example.com"
        with pytest.raises(NotFound):
            get(service_url, str(uuid.uuid4()), query=query)

    PROFILES = (
        'CREATE TABLE "user" (id INTEGER PRIMARY KEY, email TEXT, username TEXT, is_deleted BOOLEAN,'
        " deleted_at TIMESTAMP)",
        'CREATE TABLE "order" (id INTEGER PRIMARY KEY, user_id INTEGER)',
        "CREATE TABLE profiles (user_id INTEGER, first_name TEXT, deleted_at TIMESTAMP)",
        "INSERT INTO \"user\" VALUES (1, 'a@example.com', 'a', false, NULL), (2, 'b@example.com', 'b', false,"
        " NULL), (3, 'c@example.com', 'c', true, NULL),"
        " (4, 'd@example.com', 'd', false, '2020-01-01 00:00:00')",
        "INSERT INTO profiles VALUES (1, 'Ada', NULL), (3, 'Cleo', NULL), (4, 'Dan', NULL)",
    )
    #: The query of docs/how-to/recipients.md.
    PROFILE_QUERY = (
        "SELECT u.id, u.email, u.username, u.is_deleted, u.deleted_at, p.first_name"
        ' FROM "user" u LEFT JOIN profiles p ON p.user_id = u.id'
    )

    def test_first_names_come_from_another_table(self, service_url: str) -> None:
        """By a join, in tables whose names SQL reserves; a user without a profile has none."""
        execute_sql(service_url, *self.PROFILES)
        query = f"{self.PROFILE_QUERY} WHERE u.id = :id"
        ada = User(id="1", email="a@example.com", username="a", first_name="Ada")
        assert get(service_url, "1", query=query) == ada
        assert get(service_url, "2", query=query) == User(id="2", email="b@example.com", username="b")
        directory = ServiceUserDirectory(service_url, query=query, list_query=self.PROFILE_QUERY)
        found = list(directory.iter_users(screening=Screening.FULL))
        assert sorted(type(each).__name__ for each in found) == ["ExcludedUser"] * 2 + ["User"] * 2
        for user_id, reason in (("3", "is_deleted is true"), ("4", "deleted_at is set")):
            with pytest.raises(Refused, match=reason):
                directory.get(user_id, screening=Screening.FULL)
        directory.close()

    def test_a_reserved_name_without_quotes_is_explained(self, postgres_url: str) -> None:
        """PostgreSQL takes `user` for the name of the database user."""
        execute_sql(postgres_url, *self.PROFILES)
        for table in ("user", "order"):
            with pytest.raises(ConfigurationError) as caught:
                get(postgres_url, "1", query=f"SELECT email FROM {table} WHERE id = :id")
            assert '"user" and "order", need double quotes' in caught.value.fix

    @pytest.mark.parametrize(
        ("query", "reason"),
        [
            ("SELECT mail AS email FROM accounts", "must have the parameter :id and no other"),
            (
                "SELECT mail AS email FROM accounts WHERE nr = :user",
                "must have the parameter :id and no other",
            ),
            ("SELECT mail FROM accounts WHERE nr = :id", "returns no column email"),
            ("SELECT mail AS email FROM accounts WHERE nr >= :id", "returns several rows"),
            ("SELEC mail FROM accounts WHERE nr = :id", "cannot be run"),
            ("SELECT mail AS email FROM nowhere WHERE nr = :id", "cannot be run"),
            ("DELETE FROM accounts WHERE nr = :id", "cannot be run"),
            ("DELETE FROM accounts WHERE nr = :id RETURNING mail AS email", "cannot be run"),
        ],
    )
    def test_a_query_that_does_not_do_is_refused(self, service_url: str, query: str, reason: str) -> None:
        """The setting is named, and the database stays as it is."""
        execute_sql(service_url, *self.ACCOUNTS, "INSERT INTO accounts VALUES (43, '0043', 'v@example.com')")
        for ask in (get, None):
            with pytest.raises(ConfigurationError, match=f"^MAILCTL_USERS_QUERY {reason}"):
                ask(service_url, "42", query=query) if ask else describe(service_url, query=query)
        works = "SELECT mail AS email FROM accounts WHERE nr = :id"
        assert get(service_url, "42", query=works).email == "u@example.com"

    def test_describes_itself(self, service_url: str) -> None:
        """The query is tried, as check-config wants to know whether it works."""
        execute_sql(service_url, *self.ACCOUNTS)
        line = describe(service_url, query="SELECT mail AS email FROM accounts WHERE nr = :id")
        assert line.startswith("MAILCTL_USERS_QUERY in ")


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
