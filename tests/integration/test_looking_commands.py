"""What operators see of emails: one, some, and lists, page by page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from mailctl.domain.outcomes import Outcome, OutcomeKind
from mailctl.domain.states import State
from tests.integration.commands import DEAD, fail, send, welcome

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.commands import Mailctl

#: A link with a token of its own, not a masked one.
TOKEN = re.compile(r"reset-password\?t=(?:3D)?[\w-]{20}")


def test_a_template_that_cannot_be_used_is_one_sentence(mailctl: Mailctl) -> None:
    """What is wrong with the template is part of it."""
    sent = mailctl("send", "email", "--email", "zoe@example.com", "--subject", "Hi", "--template", "nosuch")
    assert sent.code == 2
    assert "The template cannot be used: there is no template 'nosuch'." in sent.err


class TestShow:
    def test_links_are_masked_unless_they_are_to_be_revealed(self, mailctl: Mailctl) -> None:
        """In text, HTML and source; stderr says what is shown."""
        email_id = send(mailctl, "reset", "--user-id", "1")
        for form in ((), ("--html",), ("--raw",), ("--json",)):
            shown = mailctl("show", email_id, *form).out
            assert ("***" in shown, TOKEN.search(shown)) == (True, None)
        revealed = mailctl("show", email_id, "--reveal")
        assert TOKEN.search(revealed.out)
        assert "with new links" in revealed.err
        assert "Anybody who sees them can use them" in revealed.err
        assert "Reset your Example password" in revealed.out

    def test_an_email_without_links_has_no_new_ones(self, mailctl: Mailctl) -> None:
        """`show` says so of links only."""
        email_id = send(mailctl, "welcome", "--user-id", "1")
        for options in ((), ("--reveal",)):
            shown = mailctl("show", email_id, *options)
            assert ("composed just now." in shown.err, "link" in shown.err) == (True, False)

    def test_of_a_sent_email_the_headers_are_left(self, mailctl: Mailctl) -> None:
        """And it says why there is no more."""
        email_id = send(mailctl, "reset", "--user-id", "1")
        fail(email_id, Outcome(kind=OutcomeKind.ACCEPTED), state=State.SENT)
        shown = mailctl("show", email_id)
        assert (shown.code, "The content was deleted" in shown.err, "ada@example.com" in shown.out) == (
            0,
            True,
            True,
        )
        assert mailctl("show", email_id, "--raw").code == 1
        assert mailctl("show", "ffff").code == 3

    def test_a_captured_email_is_read_from_its_file(self, mailctl: Mailctl, tmp_path: Path) -> None:
        """As it was written, and masked; only in the folder for them."""
        email_id = send(mailctl, "reset", "--user-id", "1")
        source = mailctl("show", email_id, "--raw", "--reveal", "--json").lines[0]["raw"]
        (tmp_path / "one.eml").write_bytes(source.encode())
        folder = tmp_path / ".mailctl" / "mail"
        outcome = Outcome(kind=OutcomeKind.CAPTURED, captured_file=str(folder / "one.eml"))
        fail(email_id, outcome, state=State.CAPTURED)
        assert mailctl("show", email_id, "--json").lines[0]["source"] == "log"
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "one.eml").rename(folder / "one.eml")
        [shown] = mailctl("show", email_id, "--json").lines
        assert (shown["source"], "reset-password?t=***" in shown["text"]) == ("file", True)
        assert TOKEN.search(mailctl("show", email_id, "--reveal").out)


class TestStatusOfSeveral:
    def test_each_has_a_line(self, mailctl: Mailctl) -> None:
        """Exit code 3 if one is unknown, else 1 if one has failed."""
        good, bad = welcome(mailctl), welcome(mailctl, "max@example.com")
        fail(bad, DEAD)
        assert mailctl("status", good, good).code == 0
        assert mailctl("status", good, bad, "--json").code == 1
        mixed = mailctl("status", "-", "--json", stdin=f"{good}\nffff\n{bad}\n")
        assert (mixed.code, [line["state"] for line in mixed.lines]) == (3, ["pending", None, "failed"])


class TestSortedLists:
    @pytest.mark.parametrize("sort", ["created", "updated", "to", "state"])
    @pytest.mark.parametrize("more", [(), ("--oldest-first",)])
    def test_pages_follow_each_other(self, mailctl: Mailctl, sort: str, more: tuple[str, ...]) -> None:
        """Each email is on one page, in the order of the whole list."""
        addresses = ("b@example.com", "a@example.com", "b@example.com", "c@example.com")
        ids = [welcome(mailctl, address) for address in addresses]
        mailctl("hold", ids[2], ids[0])
        whole = mailctl("list", "--sort", sort, *more, "--json").lines
        key = {"created": "created_at", "updated": "updated_at"}.get(sort, sort)
        rises = sort in ("to", "state") or bool(more)
        assert [line[key] for line in whole] == sorted((line[key] for line in whole), reverse=not rises)
        paged: list[str] = []
        after: list[str] = []
        for _ in range(4):
            page = mailctl("list", "--sort", sort, *more, "--limit", "1", *after, "--json")
            paged += [line["task_id"] for line in page.lines]
            after = page.err.split()[-2:]
        assert paged == [line["task_id"] for line in whole]

    def test_a_cursor_of_another_list_is_refused(self, mailctl: Mailctl) -> None:
        """Exit code 2."""
        mailctl("db", "upgrade")
        assert mailctl("list", "--after", "3:zoe@example.com").code == 2
        assert mailctl("list", "--sort", "to", "--after", "3").code == 2
        assert mailctl("list", "--sort", "updated", "--after", "3:soon").code == 2
        assert mailctl("list", "--sort", "luck").code == 2


class TestEvents:
    def test_ctrl_c_before_the_first_event_is_no_error(self, mailctl: Mailctl) -> None:
        """Here it comes while the log is opened."""
        welcome(mailctl)
        left = [KeyboardInterrupt()]

        def interrupt(*_: object) -> None:
            if left:
                raise left.pop()

        event.listen(Engine, "engine_connect", interrupt)
        try:
            followed = mailctl("events", "--follow")
        finally:
            event.remove(Engine, "engine_connect", interrupt)
        assert (followed.code, left) == (0, [])
        assert followed.err.startswith("No matching events.")
