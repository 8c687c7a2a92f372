"""The directory of a service's users, in a SQLite file of the service."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.domain.models import RowProblem, User
from mailctl.errors import ConfigurationError, InvalidInput, NotFound, Refused, UserDirectoryUnavailable
from mailctl.users import service_database
from mailctl.users.screening import ExcludedUser, Screening
from mailctl.users.service_database import MAX_ID_LENGTH, ServiceUserDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ID = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
TABLE = "CREATE TABLE users (id TEXT, email TEXT, username TEXT, first_name TEXT, is_active INTEGER)"
QUERY = "SELECT id, email, username, first_name FROM users WHERE id = :id"
LIST_QUERY = "SELECT id, email, is_active FROM users ORDER BY id"
ROWS = [
    ("1", "ada@example.com", "ada", "Ada", 1),
    ("2", "bob@example.com", "bob", None, 0),
    ("3", "nowhere", "eve", None, 1),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The database of a service with three users: an active one, an inactive one, and one without address."""
    path = tmp_path / "service.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(TABLE)
        connection.executemany("INSERT INTO users VALUES (?, ?, ?, ?, ?)", ROWS)
        connection.commit()
    return path


@pytest.fixture
def open_directory(path: Path) -> Iterator[Callable[..., ServiceUserDirectory]]:
    """Opens the directory of the service, by the table or by queries."""
    opened: list[ServiceUserDirectory] = []

    def open_it(**queries: str) -> ServiceUserDirectory:
        opened.append(ServiceUserDirectory(f"sqlite:///{path}", **queries))
        return opened[-1]

    yield open_it
    for each in opened:
        each.close()


def execute(path: Path, statement: str, *values: Any) -> None:
    """Change the database as the service does."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement, values)
        connection.commit()


@pytest.mark.parametrize("queries", [{}, {"query": QUERY}])
def test_a_user_is_found_by_its_id(
    queries: dict[str, str], open_directory: Callable[..., ServiceUserDirectory]
) -> None:
    """In the table, or by the query."""
    found = open_directory(**queries).get("1")
    assert found == User(id="1", email="ada@example.com", username="ada", first_name="Ada")


@pytest.mark.parametrize(
    ("queries", "where"),
    [({}, "There is no user 9 in table users"), ({"query": QUERY}, "the result of MAILCTL_USERS_QUERY")],
)
def test_an_unknown_user_is_not_found(
    queries: dict[str, str], where: str, open_directory: Callable[..., ServiceUserDirectory]
) -> None:
    """The error says where it was looked up."""
    for ask in (ServiceUserDirectory.get, ServiceUserDirectory.find_record):
        with pytest.raises(NotFound, match=where):
            ask(open_directory(**queries), "9")


@pytest.mark.parametrize("user_id", ["", "1" * (MAX_ID_LENGTH + 1), "1\n"])
def test_an_id_that_the_log_cannot_have_is_refused(
    user_id: str, open_directory: Callable[..., ServiceUserDirectory]
) -> None:
    """Before the database is asked."""
    with pytest.raises(InvalidInput, match="user id"):
        open_directory().get(user_id)


@pytest.mark.parametrize(
    ("screening", "is_refused"),
    [(Screening.FULL, True), (Screening.INACTIVE_ALLOWED, False), (Screening.NONE, False)],
)
def test_an_inactive_user_gets_email_only_if_that_is_allowed(
    screening: Screening, is_refused: bool, open_directory: Callable[..., ServiceUserDirectory]
) -> None:
    """The error names the option that allows it."""
    directory = open_directory()
    if is_refused:
        with pytest.raises(Refused) as caught:
            directory.get("2", screening=screening)
        assert "--include-inactive" in caught.value.fix
    else:
        assert directory.get("2", screening=screening).email == "bob@example.com"


def test_a_stored_address_that_is_not_valid_is_named_by_its_user(
    open_directory: Callable[..., ServiceUserDirectory],
) -> None:
    """The address itself is not shown."""
    with pytest.raises(InvalidInput, match="the stored email address of user 3") as caught:
        open_directory().get("3")
    assert "nowhere" not in str(caught.value)


def test_an_id_in_another_spelling_becomes_the_canonical_one(
    path: Path, open_directory: Callable[..., ServiceUserDirectory]
) -> None:
    """A UUID may be stored without hyphens; the delivery log has one spelling for it."""
    execute(path, "INSERT INTO users VALUES (?, 'zoe@example.com', 'zoe', NULL, 1)", uuid.UUID(ID).hex)
    assert open_directory(query=QUERY.replace(":id", "replace(:id, '-', '')")).get(ID).id == ID


@pytest.mark.parametrize("queries", [{}, {"query": QUERY, "list_query": LIST_QUERY}])
def test_all_users_are_listed_with_the_reason_for_each_that_is_left_out(
    queries: dict[str, str], open_directory: Callable[..., ServiceUserDirectory]
) -> None:
    """A row that cannot be used does not end the list."""
    ada, bob, eve = open_directory(**queries).iter_users(screening=Screening.FULL)
    assert isinstance(ada, User)
    assert (ada.id, isinstance(bob, ExcludedUser)) == ("1", True)
    assert isinstance(eve, RowProblem)
    assert eve.line == 3


def test_a_query_for_one_user_does_not_list_all(open_directory: Callable[..., ServiceUserDirectory]) -> None:
    """The error names the setting that does."""
    directory = open_directory(query=QUERY)
    with pytest.raises(ConfigurationError) as caught:
        list(directory.iter_users())
    assert caught.value.fix.startswith("Set MAILCTL_USERS_LIST_QUERY")
    assert directory.describe_eligibility().startswith("MAILCTL_USERS_LIST_QUERY is not set")


def test_the_description_says_who_gets_email_and_why_others_do_not(
    open_directory: Callable[..., ServiceUserDirectory],
) -> None:
    """By the columns that decide."""
    text = open_directory().describe_eligibility()
    assert text.startswith("2 of 3 users get email, by is_active; 1 left out: ")
    assert not open_directory().has_no_eligibility_columns()


@pytest.mark.parametrize(
    ("queries", "source"),
    [({}, "table users has"), ({"list_query": "SELECT id, email FROM users"}, "MAILCTL_USERS_LIST_QUERY")],
)
def test_without_a_column_that_decides_all_users_get_email(
    queries: dict[str, str], source: str, path: Path, open_directory: Callable[..., ServiceUserDirectory]
) -> None:
    """The description says that nothing tells them apart."""
    if not queries:
        execute(path, "ALTER TABLE users DROP COLUMN is_active")
    directory = open_directory(**queries)
    assert directory.has_no_eligibility_columns()
    text = directory.describe_eligibility()
    assert text.startswith(source)
    assert text.endswith("all users get email")


@pytest.mark.parametrize(("most", "text"), [(3, "3 users"), (2, "more than 2 users")])
def test_users_are_counted_up_to_a_number(
    most: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    open_directory: Callable[..., ServiceUserDirectory],
) -> None:
    """Counting a large table takes too long."""
    monkeypatch.setattr(service_database, "MAX_COUNT", most)
    assert open_directory().describe().endswith(f", {text}")
    assert open_directory(query=QUERY).describe().startswith("MAILCTL_USERS_QUERY in ")


def test_a_missing_database_is_not_created(tmp_path: Path) -> None:
    """The error names the file."""
    missing = tmp_path / "missing.db"
    with pytest.raises(UserDirectoryUnavailable, match=r"missing\.db, does not exist"):
        ServiceUserDirectory(f"sqlite:///{missing}").get("1")
    assert not missing.exists()
