"""All users of a service: listed by a table or a query, and read once."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.models import RowProblem
from mailctl.domain.recipient_list import RecipientRow
from mailctl.enqueue.mailing_list import read_all_users
from mailctl.errors import ConfigurationError
from mailctl.users import Screening, ServiceUserDirectory
from tests.integration.commands import execute_sql
from tests.integration.users.conftest import LIST_QUERY, ONE_QUERY
from tests.integration.users.test_confirmation import TestTheQuestion

if TYPE_CHECKING:
    from tests.integration.commands import Mailctl


def test_users_of_the_service_are_listed_but_not_changed(shop: Mailctl, shop_url: str) -> None:
    """The first of them; those who cannot be mailed to are told."""
    listed = shop("users", "list", "--json")
    assert (listed.code, [user["id"] for user in listed.lines]) == (0, ["1", "2", "3", "5", "6"])
    assert "line 4: the stored email address of user 4" in listed.err
    numbers = ", ".join(f"({number}, 'u{number}@example.com')" for number in range(7, 103))
    execute_sql(shop_url, f"INSERT INTO users (id, email) VALUES {numbers}")
    listed = shop("users", "list")
    assert (listed.code, "u100@example.com" in listed.out, "u101@example.com" in listed.out) == (
        0,
        True,
        False,
    )
    assert "The service's database has more users." in listed.err
    assert shop("users", "add", "zoe@example.com").code == 2


class TestUsersByQuery:
    def test_one_query_finds_one_the_other_lists_all(
        self, shop: Mailctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The list may name its users as it likes, and leave out any of them."""
        monkeypatch.setenv("MAILCTL_USERS_QUERY", ONE_QUERY)
        everybody = (*TestTheQuestion.EVERYBODY, "--yes")
        refused = shop(*everybody)
        assert (refused.code, "Set MAILCTL_USERS_LIST_QUERY" in refused.err) == (2, True)
        monkeypatch.setenv("MAILCTL_USERS_LIST_QUERY", LIST_QUERY)
        ran = shop(*everybody, "--json")
        assert [line["to"] for line in ran.lines[:-1]] == [
            f"{name}@example.com" for name in ("ada", "bob", "fay")
        ]

    @pytest.mark.parametrize(
        ("query", "complaint"),
        [
            ("SELECT id FROM users", "returns no column email"),
            ("SELECT * FROM users WHERE id = :id", "must have no parameter"),
            ("SELECT email FROM nothing", "cannot be run: "),
            ("DELETE FROM users", "cannot be run: "),
            ("UPDATE users SET email = '' RETURNING email", "cannot be run: "),
            ("SELECT email FROM", "cannot be run: "),
            ("SELECT * FROM users u JOIN users p ON p.id = u.id", "returns more than one column id"),
            (
                "SELECT u.email, u.status, p.status FROM users u, users p",
                "returns more than one column status",
            ),
        ],
    )
    def test_a_list_query_that_cannot_work_is_refused(
        self, shop_url: str, query: str, complaint: str
    ) -> None:
        """By check-config before it is used; it only ever reads."""
        directory = ServiceUserDirectory(shop_url, query=ONE_QUERY, list_query=query)
        for ask in (directory.describe_eligibility, lambda: list(directory.iter_users())):
            with pytest.raises(ConfigurationError, match=f"^MAILCTL_USERS_LIST_QUERY {complaint}"):
                ask()
        assert directory.get("1").email == "ada@example.com"
        directory.close()

    def test_a_query_for_one_gives_each_column_once_too(self, shop_url: str) -> None:
        """What says nothing about the user may come twice."""
        join = (
            "SELECT u.id, u.email, u.is_active, {} FROM users u JOIN users p ON p.id = u.id WHERE u.id = :id"
        )
        complaint = "^MAILCTL_USERS_QUERY returns more than one column is_active"
        with (
            closing(ServiceUserDirectory(shop_url, query=join.format("p.is_active"))) as directory,
            pytest.raises(ConfigurationError, match=complaint),
        ):
            directory.get("1")
        harmless = join.format("1 AS points, 2 AS points")
        with closing(ServiceUserDirectory(shop_url, query=harmless)) as directory:
            assert directory.get("1", screening=Screening.FULL).email == "ada@example.com"


def test_a_list_is_read_once_and_gone_through_often(directory: ServiceUserDirectory) -> None:
    """It is asked for once: what was counted and confirmed is what is sent."""
    found = read_all_users(directory, screening=Screening.FULL)
    rows = [
        RecipientRow(line=1, user_id="1", email="ada@example.com", name="ada"),
        RowProblem(line=4, reason=next(each.reason for each in found.rows if isinstance(each, RowProblem))),
        RecipientRow(line=5, user_id="5", email="eve@example.com", name="eve"),
    ]
    assert list(found.rows) == rows
    assert list(found.rows) == rows
    assert (found.recipient_count, found.problem_count, found.size, found.excluded_by_reason.total()) == (
        2,
        1,
        3,
        3,
    )
