"""Users in a table of mailctl itself, which development starts with: added, imported, looked up."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.storage.engine import open_engine
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.domain.models import RowProblem, User
from mailctl.errors import (
    InvalidInput,
    LogUnavailable,
    NotFound,
    Refused,
)
from mailctl.users import (
    EmbeddedUserDirectory,
    ImportReport,
)

if TYPE_CHECKING:
    import sqlalchemy


class TestTableOfOurs:
    def test_development_starts_with_three_users(self, engine: sqlalchemy.Engine) -> None:
        """`mailctl send welcome --user-id 1` works at once."""
        directory = EmbeddedUserDirectory(engine, with_demo_users=True)
        assert directory.get("1") == User(id="1", email="ada@example.com", username="ada", first_name="Ada")
        assert [user.id for user in directory.list_users()] == ["1", "2", "3"]
        assert directory.describe().endswith(", 3 users")

    def test_production_starts_with_none(self, engine: sqlalchemy.Engine) -> None:
        """Demo users are for development."""
        directory = EmbeddedUserDirectory(engine, with_demo_users=False)
        assert directory.describe().startswith("table mailctl_users in ")
        with pytest.raises(NotFound, match=r"^There is no user 1 in table mailctl_users\.$") as caught:
            directory.get("1")
        assert caught.value.fix == "Run `mailctl users list`."

    def test_looking_at_them_puts_nothing_into_the_table(self, engine: sqlalchemy.Engine) -> None:
        """What only reads writes nothing; the first change does it."""
        directory = EmbeddedUserDirectory(engine, with_demo_users=True)
        assert (directory.get("3").username, len(directory.list_users())) == ("alan", 3)
        assert EmbeddedUserDirectory(engine, with_demo_users=False).list_users() == []
        directory.add("zoe@example.com")
        assert [
            user.id for user in EmbeddedUserDirectory(engine, with_demo_users=False).list_users()
        ] == list("1234")

    def test_those_who_change_it_first_together_seed_once(self, engine: sqlalchemy.Engine) -> None:
        """Whoever is first puts the demo users in; the others see them."""
        start, failures = threading.Barrier(6), []

        def add(number: int) -> None:
            own = open_engine(engine.url, setting="X")
            start.wait()
            try:
                EmbeddedUserDirectory(own, with_demo_users=True).add(f"user{number}@example.com")
            except Exception as error:
                failures.append(error)
            own.dispose()

        threads = [threading.Thread(target=add, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(EmbeddedUserDirectory(engine, with_demo_users=True).list_users()) == 3 + 6

    def test_added_users_get_the_next_id(self, engine: sqlalchemy.Engine) -> None:
        """After the demo users, and after ids that were given."""
        directory = EmbeddedUserDirectory(engine, with_demo_users=True)
        first = directory.add("New@Example.com", username="new", first_name="Nell")
        assert first == User(id="4", email="New@example.com", username="new", first_name="Nell")
        assert directory.add("b@example.com", id="9").id == "9"
        assert directory.add("c@example.com").id == "10"
        assert directory.get("4") == first

    @pytest.mark.parametrize(
        ("email", "user_id"), [("ada@example.com", None), ("ADA@example.com", None), ("new@example.com", "1")]
    )
    def test_an_address_or_id_that_is_taken_is_refused(
        self, engine: sqlalchemy.Engine, email: str, user_id: str | None
    ) -> None:
        """Two users never share an address, whatever its case."""
        directory = EmbeddedUserDirectory(engine, with_demo_users=True)
        with pytest.raises(Refused, match=r"^User 1 already has this (address|id)"):
            directory.add(email, id=user_id)
        assert len(directory.list_users()) == 3

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"email": "a@example.com\nBcc: b@example.com"}, "email"),
            ({"email": "a@example.com", "username": "u\r\nX: 1"}, "username"),
            ({"email": "a@example.com", "first_name": "\u202egnp.exe"}, "first_name"),
            ({"email": "a@example.com", "id": "abc"}, "user id"),
            ({"email": "a@example.com", "id": "0"}, "user id"),
            ({"email": "a@example.com", "id": "99999999999"}, "user id"),
        ],
    )
    def test_unusable_values_are_refused(
        self, engine: sqlalchemy.Engine, values: dict[str, str], field: str
    ) -> None:
        """What is added passes the same gate as all input."""
        directory = EmbeddedUserDirectory(engine, with_demo_users=False)
        with pytest.raises(InvalidInput) as caught:
            directory.add(**values)
        assert caught.value.field == field
        assert directory.list_users() == []

    def test_an_id_that_is_no_number_is_wrong_usage(self, engine: sqlalchemy.Engine) -> None:
        """Ids of this table are numbers."""
        with pytest.raises(InvalidInput, match="user id"):
            EmbeddedUserDirectory(engine, with_demo_users=True).get("abc")

    def test_a_log_without_schema_is_named(self, service_url: str) -> None:
        """The table stands in the delivery log's database, and its errors are the log's."""
        engine = open_engine(parse_url(service_url, setting="X"), setting="X")
        with pytest.raises(LogUnavailable):
            EmbeddedUserDirectory(engine, with_demo_users=True).get("1")
        engine.dispose()


class TestImport:
    def test_adds_and_updates(self, engine: sqlalchemy.Engine) -> None:
        """A row is known by its id or its address; columns that the file lacks stay as they are."""
        directory = EmbeddedUserDirectory(engine, with_demo_users=True)
        stream = io.StringIO(
            "id,email,username\n"
            "1,lovelace@example.com,countess\n"
            ",GRACE@example.com,admiral\n"
            "20,new@example.com,new\n"
            ",next@example.com,\n"
        )
        assert directory.import_csv(stream) == ImportReport(added=2, updated=2)
        assert directory.list_users() == [
            User(id="1", email="lovelace@example.com", username="countess", first_name="Ada"),
            User(id="2", email="GRACE@example.com", username="admiral", first_name="Grace"),
            User(id="3", email="alan@example.com", username="alan", first_name="Alan"),
            User(id="20", email="new@example.com", username="new"),
            User(id="21", email="next@example.com"),
        ]

    def test_bad_rows_are_reported_by_line_and_good_ones_kept(self, engine: sqlalchemy.Engine) -> None:
        """The line is that of the file, whatever stands before it."""
        directory = EmbeddedUserDirectory(engine, with_demo_users=True)
        stream = io.StringIO(
            "email,first_name,id\n"
            "nonsense,X,\n"
            "\n"
            'good@example.com,"Good, or\tbad",\n'
            "good@example.com,Good,\n"
            "ada@example.com,Ada,2\n"
            "short@example.com,X\n"
            "long@example.com,X,,,\n"
            'quote@example.com,"X\nY",\n'
            "last@example.com,Last,abc\n"
            "fine@example.com,Fine,\n"
        )
        report = directory.import_csv(stream)
        assert (report.added, report.updated) == (2, 0)
        assert [problem.line for problem in report.problems] == [2, 4, 6, 7, 8, 10, 11]
        assert report.problems[2] == RowProblem(line=6, reason="user 1 already has this address.")
        assert [user.email for user in directory.list_users()][3:] == ["good@example.com", "fine@example.com"]

    def test_rows_see_what_rows_before_them_did(self, engine: sqlalchemy.Engine) -> None:
        """An address that a row gave up is free for the next, one that a row took is its user's."""
        directory = EmbeddedUserDirectory(engine, with_demo_users=True)
        stream = io.StringIO(
            "id,email,username\n"
            "1,x@example.com,x\n"
            ",ada@example.com,another\n"
            ",X@example.com,again\n"
            ",ada@example.com,another-again\n"
        )
        assert directory.import_csv(stream) == ImportReport(added=1, updated=3)
        names = {user.id: (user.email, user.username) for user in directory.list_users()}
        assert names["1"] == ("X@example.com", "again")
        assert names["4"] == ("ada@example.com", "another-again")

    def test_many_rows_are_all_kept(self, engine: sqlalchemy.Engine) -> None:
        """More than fit into one transaction."""
        directory = EmbeddedUserDirectory(engine, with_demo_users=False)
        rows = "".join(f"u{number}@example.com\n" for number in range(1201))
        assert directory.import_csv(io.StringIO("email\n" + rows)).added == 1201
        assert directory.describe().endswith(", 1201 users")

    def test_a_byte_order_mark_and_spaces_are_not_part_of_a_name(self, engine: sqlalchemy.Engine) -> None:
        """As spreadsheets write it, whether the caller opened the file as utf-8-sig or not."""
        directory = EmbeddedUserDirectory(engine, with_demo_users=False)
        stream = io.StringIO("\ufeffEmail ; x, email,\r\nz, a@example.com ,\r\n")
        assert directory.import_csv(stream).added == 1
        assert [user.email for user in directory.list_users()] == ["a@example.com"]

    @pytest.mark.parametrize("content", ["", "\n", "mail,name\na@example.com,A\n", "a@example.com\n"])
    def test_a_file_without_a_column_email_is_refused(self, engine: sqlalchemy.Engine, content: str) -> None:
        """Nobody guesses which column holds the address."""
        with pytest.raises(InvalidInput, match="column email in its first line"):
            EmbeddedUserDirectory(engine, with_demo_users=False).import_csv(io.StringIO(content))

    def test_a_file_that_is_not_utf_8_is_refused(self, engine: sqlalchemy.Engine) -> None:
        """One clear sentence instead of a codec's."""
        stream = io.TextIOWrapper(io.BytesIO(b"email,username\na@example.com,J\xfcrgen\n"), encoding="utf-8")
        directory = EmbeddedUserDirectory(engine, with_demo_users=False)
        with pytest.raises(InvalidInput, match="it is not UTF-8 text"):
            directory.import_csv(stream)
        assert directory.list_users() == []
