"""`send --all-users`: who may be mailed, what is asked before, and where the users come from."""

from __future__ import annotations

import io
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mailctl import runtime
from mailctl.cli.main import main
from mailctl.domain.models import RowProblem, User
from mailctl.domain.recipient_list import RecipientRow
from mailctl.enqueue.mailing_list import read_all_users
from mailctl.errors import ConfigurationError, Refused
from mailctl.users import ExcludedUser, Screening, ServiceUserDirectory
from tests.integration.commands import execute_sql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


class TestWhoMayBeMailed:
    def test_users_who_are_inactive_banned_or_deleted_are_left_out(
        self, directory: ServiceUserDirectory
    ) -> None:
        """Found by the columns of their table; a time that lies ahead does not count yet."""
        found = list(directory.iter_users(screening=Screening.FULL))
        assert [each.email for each in found if isinstance(each, User)] == [
            "ada@example.com",
            "eve@example.com",
        ]
        assert [each.reason for each in found if isinstance(each, ExcludedUser)] == [
            "is_active is false",
            "deleted_at is set",
            "status is banned",
        ]
        assert [each.line for each in found if isinstance(each, RowProblem)] == [4]

    @pytest.mark.parametrize(
        ("user_id", "reason"),
        [("2", "is_active is false"), ("3", "deleted_at is set"), ("6", "status is banned")],
    )
    def test_one_by_id_is_refused_with_the_reason(
        self, directory: ServiceUserDirectory, user_id: str, reason: str
    ) -> None:
        """As it may be a slip."""
        with pytest.raises(Refused, match=f"User {user_id} gets no email: {reason}.") as caught:
            directory.get(user_id, screening=Screening.FULL)
        assert "--include-inactive" in caught.value.fix
        assert directory.get(user_id).id == user_id

    def test_a_query_that_gives_such_columns_is_judged_alike(self, shop_url: str) -> None:
        """It may leave them out, and so say that all it finds may be mailed."""
        for query, may_be_mailed in ((ONE_QUERY, False), (ONE_QUERY.replace("*", "id, email"), True)):
            found = ServiceUserDirectory(shop_url, query=query)
            if may_be_mailed:
                assert found.get("3", screening=Screening.FULL).email == "cyd@example.com"
            else:
                with pytest.raises(Refused):
                    found.get("3", screening=Screening.FULL)
            found.close()

    def test_commands_refuse_them_and_say_what_overrides_it(self, shop: Mailctl, tmp_path: Path) -> None:
        """Exit code 4; of a file, they are bad rows. Verification is how users become active."""
        refused = shop("send", "welcome", "--user-id", "2")
        assert (refused.code, refused.err) == (
            4,
            "error: User 2 gets no email: is_active is false. "
            "Use --include-inactive to send the email anyway.\n",
        )
        assert shop("send", "verification", "--user-id", "3").code == 4
        assert recorded(shop) == set()
        assert shop("send", "verification", "--user-id", "2").code == 0
        assert shop("send", "reset", "--user-id", "3", "--include-inactive").code == 0
        assert recorded(shop) == {"bob@example.com", "cyd@example.com"}
        (tmp_path / "list.csv").write_text("user_id\n1\n6\n")
        listed = shop("send", "welcome", "--users-file", "list.csv")
        assert (listed.code, "line 3: User 6 gets no email: status is banned." in listed.err) == (1, True)

    def test_check_config_tells_the_columns_and_how_many_remain(self, shop: Mailctl) -> None:
        """Before anybody is mailed."""
        checks = {each["name"]: each for each in shop("check-config", "--json").lines[0]["checks"]}
        assert checks["mailable"]["detail"] == (
            "3 of 6 users get email, by is_active, deleted_at, status; "
            "1 left out: is_active is false; 1 left out: deleted_at is set; 1 left out: status is banned"
        )

    def test_a_status_that_is_not_known_is_told(self, shop_url: str, directory: ServiceUserDirectory) -> None:
        """By check-config, with the number, before anybody misses an email."""
        execute_sql(shop_url, "UPDATE users SET status = 'archived' WHERE id < 6")
        assert "; 4 left out: status 'archived' is not known as active" in directory.describe_eligibility()

    def test_postgresql_folds_names_and_knows_infinite_times(self, postgres_url: str) -> None:
        """Neither lets an inactive user through, nor stops the list."""
        execute_sql(
            postgres_url,
            "CREATE TABLE users (id INT PRIMARY KEY, email TEXT, isActive BOOLEAN, deletedAt TIMESTAMPTZ,"
            " bannedAt TIMESTAMP, suspendedAt DATE)",
            "INSERT INTO users VALUES (1, 'ada@example.com', TRUE, 'infinity', 'infinity', 'infinity')",
            "INSERT INTO users VALUES (2, 'bob@example.com', FALSE, NULL, NULL, NULL)",
            "INSERT INTO users VALUES (3, 'cyd@example.com', TRUE, '-infinity', NULL, NULL)",
            "INSERT INTO users VALUES (4, 'dan@example.com', TRUE, NULL, '0044-03-15 BC', NULL)",
            "INSERT INTO users VALUES (5, 'eve@example.com', TRUE, NULL, NULL, NOW())",
        )
        directory = ServiceUserDirectory(postgres_url)
        with closing(directory):
            assert [
                each.email if isinstance(each, User) else each.reason for each in everybody(directory)
            ] == [
                "ada@example.com",
                "isactive is false",
                "deletedat is set",
                "bannedat has a value of type str that is not understood",
                "suspendedat is set",
            ]
            assert directory.get("1", screening=Screening.FULL).email == "ada@example.com"

    def test_values_of_sqlite_that_are_no_flags_count_against_mailing(self, tmp_path: Path) -> None:
        """SQLite stores what it is given, whatever the type of the column."""
        url = f"sqlite:///{tmp_path / 'odd.db'}"
        values = ("x'30'", "x'66616c7365'", "-1", "2", "0.5", "'perhaps'", "0", "'false'", "NULL")
        for column in ("is_active", "status"):
            execute_sql(
                url,
                "DROP TABLE IF EXISTS users",
                f"CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, {column} BOOLEAN)",
                *(
                    f"INSERT INTO users (email, {column}) VALUES ('a@example.com', {value})"
                    for value in values
                ),
            )
            with closing(ServiceUserDirectory(url)) as directory:
                assert [each for each in everybody(directory) if isinstance(each, User)] == []


class TestTheQuestion:
    EVERYBODY = ("send", "welcome", "--all-users", "--campaign", "news")

    def test_where_nobody_can_answer_nothing_is_sent(self, shop: Mailctl, tmp_path: Path) -> None:
        """Exit code 4, with number, sample, and who is left out."""
        ran = shop(*self.EVERYBODY)
        assert (ran.code, ran.out) == (4, "")
        assert ran.err.splitlines() == [
            "     1  left out: is_active is false",
            "     1  left out: deleted_at is set",
            "     1  left out: status is banned",
            "These are:",
            "  ada@example.com  (user 1)",
            "  eve@example.com  (user 5)",
            "error: Send welcome to 2 users? This needs a confirmation, and stdin is not a terminal. "
            "Add --yes to send, or --dry-run to only see the plan.",
        ]
        assert recorded(shop) == set()

    def test_yes_answers_beforehand(self, shop: Mailctl) -> None:
        """The summary counts those who were left out."""
        ran = shop(*self.EVERYBODY, "--yes", "--json")
        assert (ran.lines[-1]["recorded"], ran.lines[-1]["left_out"], ran.lines[-1]["problems"]) == (2, 3, 1)
        assert recorded(shop) == {"ada@example.com", "eve@example.com"}
        everybody = shop(*self.EVERYBODY, "--yes", "--include-inactive")
        assert "3 emails recorded, 2 recorded before, 1 invalid row skipped" in everybody.out

    @pytest.mark.parametrize(("answer", "code", "count"), [("y\n", 1, 2), ("n\n", 4, 0), ("\n", 4, 0)])
    def test_on_a_terminal_the_answer_counts(
        self,
        shop: Mailctl,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        answer: str,
        code: int,
        count: int,
    ) -> None:
        """No is the default. (Code 1: one user has no usable address.)"""
        monkeypatch.setattr(sys, "stdin", Keyboard(answer))
        try:
            assert main(self.EVERYBODY) == code
        finally:
            runtime.close()
        assert "Send welcome to 2 users? [y/N]" in capsys.readouterr().err
        assert len(recorded(shop)) == count

    def test_links_that_nobody_asked_for_are_pointed_out(self, shop: Mailctl) -> None:
        """A reset to everybody is hardly ever meant."""
        warning = "Each email carries a link that acts on the user's account, and no user has requested it."
        assert warning in shop("send", "reset", "--all-users", "--campaign", "all").err
        assert warning not in shop(*self.EVERYBODY).err

    def test_a_list_longer_than_expected_is_refused(self, shop: Mailctl, tmp_path: Path) -> None:
        """Of users or of a file; nothing is recorded, whatever else is said."""
        (tmp_path / "list.csv").write_text("email\na@example.com\nb@example.com\nno address\n")
        for many in (self.EVERYBODY, ("send", "welcome", "--users-file", "list.csv")):
            refused = shop(*many, "--yes", "--max", "1")
            assert refused.code == 4
            assert "recipients, more than --max 1; nothing is sent." in refused.err
            assert recorded(shop) == set()
        assert shop(*self.EVERYBODY, "--yes", "--max", "2").code == 1
        assert len(recorded(shop)) == 2

    def test_a_dry_run_tells_the_same_and_asks_nothing(self, shop: Mailctl) -> None:
        """Nor does it send."""
        ran = shop(*self.EVERYBODY, "--dry-run")
        assert "     1  left out: status is banned" in ran.err
        assert "2 emails would be sent; 1 invalid row." in ran.err
        assert recorded(shop) == set()

    def test_it_is_said_where_nobody_can_be_left_out(
        self, shop: Mailctl, shop_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As no column says who is deactivated: of a table, or of a query."""
        note = "no column that marks deactivated or deleted users, so all {} are included."
        assert note.format(2) not in shop(*self.EVERYBODY).err
        monkeypatch.setenv("MAILCTL_USERS_LIST_QUERY", LIST_QUERY)
        assert note.format(3) not in shop(*self.EVERYBODY, "--include-inactive").err
        assert note.format(3) in shop(*self.EVERYBODY).err
        monkeypatch.delenv("MAILCTL_USERS_LIST_QUERY")
        for column in ("is_active", "deleted_at", "status"):
            execute_sql(shop_url, f"ALTER TABLE users DROP COLUMN {column}")
        assert note.format(5) in shop(*self.EVERYBODY, "--dry-run").err
        assert note.format(5) in shop(*self.EVERYBODY, "--yes").err

    def test_the_most_frequent_reasons_are_told(self, shop: Mailctl, shop_url: str) -> None:
        """A status may be any text, another one for each user."""
        rows = ", ".join(f"({n}, 'u{n}@example.com', 'odd {n}')" for n in range(7, 20))
        execute_sql(
            shop_url,
            "UPDATE users SET status = 'gone'",
            f"INSERT INTO users (id, email, status) VALUES {rows}",
        )
        told = [line for line in shop(*self.EVERYBODY).err.splitlines() if "left out" in line]
        assert told[0] == "     5  left out: status 'gone' is not known as active"
        assert (len(told), told[-1]) == (11, "     5  left out for other reasons")

    def test_only_one_way_to_name_recipients_is_taken(self, shop: Mailctl) -> None:
        """The error names all of them."""
        refused = shop(*self.EVERYBODY, "--user-id", "3")
        assert refused.code == 2
        assert "Give one of --user-id, --email, --users-file and --all-users." in refused.err

    def test_max_is_for_many(self, shop: Mailctl) -> None:
        """One email is one."""
        assert shop("send", "welcome", "--user-id", "1", "--max", "5").code == 2


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


class Keyboard(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


class TestUsersByQuery:
    def test_one_query_finds_one_the_other_lists_all(
        self, shop: Mailctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The list may name its users as it likes, and leave out whom it likes."""
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
