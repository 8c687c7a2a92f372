"""Which users of a service get email."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.models import RowProblem, User
from mailctl.errors import Refused
from mailctl.users import ExcludedUser, Screening, ServiceUserDirectory
from tests.integration.commands import execute_sql
from tests.integration.users.conftest import ONE_QUERY, everybody, recorded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.commands import Mailctl


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
