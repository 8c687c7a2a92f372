"""Users are looked up in a table of the service that is found by reflection."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy

from mailctl.delivery_log.storage.urls import parse_url
from mailctl.domain.models import User
from mailctl.errors import (
    ConfigurationError,
    InvalidInput,
    NotFound,
)
from mailctl.users import (
    ServiceUserDirectory,
)
from tests.integration.commands import execute_sql
from tests.integration.users.service_users import URSULA, USERS, describe, get


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

    def test_a_number_too_large_for_the_column_is_nobody(self, service_url: str) -> None:
        """A number out of the column's range is an id that no user has, not an unreachable database."""
        execute_sql(service_url, *USERS)
        for user_id in ("2147483648", "9223372036854775807", "9" * 64):
            with pytest.raises(NotFound):
                get(service_url, user_id)

    def test_only_digits_are_integer_ids(self, service_url: str) -> None:
        """Where ids are numbers, anything else is wrong usage."""
        execute_sql(service_url, *USERS)
        for user_id in ("abc", "-1", "4 2", "²", "1; DROP TABLE users", "42 OR 1=1"):
            with pytest.raises(InvalidInput, match="user id"):
                get(service_url, user_id)

    def test_no_driver_sees_an_impossible_id(self, service_url: str) -> None:
        """Control characters, NUL and lone surrogates end at the gate."""
        for user_id in ("", "x" * 65, "a\x00b", "4\n2", "\ud800"):
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

    def test_an_unusable_stored_address_names_the_user(self, service_url: str) -> None:
        """What the service stored is input as any other; the text names the user and not the address."""
        execute_sql(service_url, USERS[0])
        unusable = ("'not an address'", "'a@example.com, b@example.com'", "NULL", "''")
        for number, stored in enumerate(unusable, start=7):
            execute_sql(service_url, f"INSERT INTO users (id, email) VALUES ({number}, {stored})")
            with pytest.raises(InvalidInput, match=rf"^the stored email address of user {number} "):
                get(service_url, str(number))

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
