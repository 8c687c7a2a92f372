"""The table of users next to the delivery log."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine

from mailctl.delivery_log.storage.tables import users
from mailctl.domain.models import RowProblem
from mailctl.errors import ConfigurationError, InvalidInput, NotFound, Refused
from mailctl.users.embedded import EmbeddedUserDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A database in memory with an empty table."""
    made = create_engine("sqlite://")
    users.create(made)
    yield made
    made.dispose()


def test_an_empty_table_appears_to_have_demo_users(engine: Engine) -> None:
    """Reading writes none of them; the first change writes all."""
    directory = EmbeddedUserDirectory(engine, with_demo_users=True)
    assert directory.get("1").email == "ada@example.com"
    assert EmbeddedUserDirectory(engine, with_demo_users=False).list_users() == []
    added = directory.add("zoe@example.com", first_name="Zoë")
    assert (added.id, len(directory.list_users())) == ("4", 4)


def test_where_the_service_has_a_database_there_are_no_demo_users(engine: Engine) -> None:
    """A person of the service must not become somebody else; users that were added are found."""
    directory = EmbeddedUserDirectory(engine, with_demo_users=True, unknown_database="DB_HOST is set.")
    for look in (lambda: directory.get("1"), directory.list_users, lambda: list(directory.iter_users())):
        with pytest.raises(ConfigurationError, match="DB_HOST is set") as caught:
            look()
        assert "DATABASE_URL" in caught.value.fix
    assert directory.describe().endswith("0 users")
    added = directory.add("zoe@example.com")
    assert directory.get("1") == added
    assert directory.list_users() == [added]


@pytest.mark.parametrize("user_id", ["0", "x", "", "²", "99999999999"])
def test_an_id_is_a_positive_number(engine: Engine, user_id: str) -> None:
    """Other ids are refused, not unknown."""
    with pytest.raises(InvalidInput, match="user id"):
        EmbeddedUserDirectory(engine, with_demo_users=True).get(user_id)


def test_an_unknown_user_is_not_found(engine: Engine) -> None:
    """Nor is a demo user without demo."""
    with pytest.raises(NotFound):
        EmbeddedUserDirectory(engine, with_demo_users=False).get("1")


def test_an_address_belongs_to_one_user(engine: Engine) -> None:
    """Whatever its case."""
    directory = EmbeddedUserDirectory(engine, with_demo_users=True)
    with pytest.raises(Refused, match="User 1 already has this address"):
        directory.add("ADA@example.com")
    with pytest.raises(Refused, match="User 2 already has this id"):
        directory.add("new@example.com", id="2")


def test_an_import_adds_updates_and_reports(engine: Engine) -> None:
    """Bad rows are reported by line and skipped."""
    directory = EmbeddedUserDirectory(engine, with_demo_users=True)
    report = directory.import_csv(
        io.StringIO(
            "id,Email,first_name\n1,ada@new.example,Ada\n,zoe@example.com,Zoë\n,nobody,x\n3\n,grace@example.com,G\n"
        )
    )
    assert (report.added, report.updated) == (1, 2)
    assert [problem.line for problem in report.problems] == [4, 5]
    assert directory.get("1").email == "ada@new.example"


def test_an_imported_address_of_another_user_is_a_problem(engine: Engine) -> None:
    """Neither user is changed."""
    directory = EmbeddedUserDirectory(engine, with_demo_users=True)
    report = directory.import_csv(io.StringIO("id,email\n2,ada@example.com\n"))
    assert report.problems == (RowProblem(line=2, reason="user 1 already has this address."),)
    assert directory.get("2").email == "grace@example.com"


@pytest.mark.parametrize(
    ("text", "problem"), [("", "column email"), ("name\nx\n", "column email"), ("email\n", "no user")]
)
def test_a_file_without_users_is_refused(engine: Engine, text: str, problem: str) -> None:
    """Instead of importing nothing."""
    with pytest.raises(InvalidInput, match=problem):
        EmbeddedUserDirectory(engine, with_demo_users=False).import_csv(io.StringIO(text))
