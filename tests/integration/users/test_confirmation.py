"""A campaign to all users is confirmed before it is recorded."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from mailctl import runtime
from mailctl.cli.main import main
from tests.integration.commands import execute_sql
from tests.integration.users.conftest import LIST_QUERY, recorded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.commands import Mailctl


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
            "error: Send welcome to 2 users? This needs confirmation, and stdin is not a terminal. "
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


class Keyboard(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True
