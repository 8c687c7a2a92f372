"""Users are looked up by MAILCTL_USERS_QUERY."""

from __future__ import annotations

import uuid
from typing import ClassVar

import pytest

from mailctl.domain.models import User
from mailctl.errors import (
    ConfigurationError,
    NotFound,
    Refused,
)
from mailctl.users import (
    Screening,
    ServiceUserDirectory,
)
from tests.integration.commands import execute_sql
from tests.integration.users.service_users import describe, get


class TestQueryOfTheService:
    ACCOUNTS = (
        "CREATE TABLE accounts (nr INTEGER PRIMARY KEY, code TEXT, mail TEXT)",
        "INSERT INTO accounts VALUES (42, '0042', 'u@example.com')",
    )
    REFUSED: ClassVar = {
        "SELECT mail AS email FROM accounts": "must have the parameter :id and no other",
        "SELECT mail AS email FROM accounts WHERE nr = :user": "must have the parameter :id and no other",
        "SELECT mail FROM accounts WHERE nr = :id": "returns no column email",
        "SELECT mail AS email FROM accounts WHERE nr >= :id": "returns several rows",
        "SELEC mail FROM accounts WHERE nr = :id": "cannot be run",
        "SELECT mail AS email FROM nowhere WHERE nr = :id": "cannot be run",
        "DELETE FROM accounts WHERE nr = :id": "cannot be run",
        "DELETE FROM accounts WHERE nr = :id RETURNING mail AS email": "cannot be run",
    }

    def test_finds_a_user_whatever_the_type(self, service_url: str) -> None:
        """The same id works for numbers, for expressions and for text."""
        execute_sql(service_url, *self.ACCOUNTS)
        found = {
            "nr = :id": "42",
            "nr + 0 = :id": "42",
            "code = :id": "0042",
            "nr = CAST(:id AS INTEGER)": "42",
        }
        for condition, user_id in found.items():
            query = f"SELECT nr AS id, mail AS email FROM accounts WHERE {condition}"
            assert get(service_url, user_id, query=query) == User(id="42", email="u@example.com"), condition

    def test_knows_the_casts_of_postgresql(self, postgres_url: str) -> None:
        """`:id::integer` holds the parameter `:id`."""
        execute_sql(postgres_url, *self.ACCOUNTS)
        for condition in ("nr = :id::integer", "nr::text = :id", "nr = :id::text::integer"):
            query = f"SELECT nr AS id, mail AS email FROM accounts WHERE {condition}"
            assert get(postgres_url, "42", query=query).email == "u@example.com", condition

    def test_without_an_id_column_the_id_is_the_one_asked_for(self, service_url: str) -> None:
        """Only `email` is required of a query."""
        execute_sql(service_url, *self.ACCOUNTS)
        query = "SELECT mail AS email FROM accounts WHERE nr = :id"
        assert get(service_url, "42", query=query) == User(id="42", email="u@example.com")

    def test_an_id_that_no_user_can_have_is_nobody(self, service_url: str) -> None:
        """With a query the type of the id is unknown: what cannot match is not found."""
        execute_sql(service_url, *self.ACCOUNTS)
        for user_id in ("43", "abc", "99999999999999999999"):
            reason = f"There is no user {user_id} in the result of MAILCTL_USERS_QUERY"
            with pytest.raises(NotFound, match=reason):
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

    def test_a_query_that_does_not_do_is_refused(self, service_url: str) -> None:
        """The setting is named, and the database stays as it is."""
        execute_sql(service_url, *self.ACCOUNTS, "INSERT INTO accounts VALUES (43, '0043', 'v@example.com')")
        for query, reason in self.REFUSED.items():
            for ask in (get, None):
                with pytest.raises(ConfigurationError, match=f"^MAILCTL_USERS_QUERY {reason}"):
                    ask(service_url, "42", query=query) if ask else describe(service_url, query=query)
            works = "SELECT mail AS email FROM accounts WHERE nr = :id"
            assert get(service_url, "42", query=works).email == "u@example.com", query

    def test_describes_itself(self, service_url: str) -> None:
        """The query is tried, as check-config wants to know whether it works."""
        execute_sql(service_url, *self.ACCOUNTS)
        line = describe(service_url, query="SELECT mail AS email FROM accounts WHERE nr = :id")
        assert line.startswith("MAILCTL_USERS_QUERY in ")
