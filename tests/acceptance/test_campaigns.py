"""Many emails: recorded row by row, sent in batches by real workers, once."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.smtp_server import Reply

if TYPE_CHECKING:
    from tests.acceptance.terminal import Terminal
    from tests.smtp_server import ScriptedSmtpServer

COUNT = 230


@pytest.fixture
def users_file(terminal: Terminal) -> str:
    """A list with one row that cannot be used, and one address twice."""
    rows = [f"user{n}@example.com,Ada {n}" for n in range(COUNT)]
    rows[3:3] = ["not-an-address,Eve", "user0@example.com,Ada again"]
    (terminal.folder / "users.csv").write_text("email,name\n" + "\n".join(rows) + "\n")
    return "users.csv"


def finished(terminal: Terminal, campaign: str) -> Counter[str]:
    """Return the states of a campaign's emails, when all are final."""
    for _ in range(60):
        listed = terminal.run("list", "--campaign", campaign, "--limit", "1000", "--json").lines
        states = Counter(email["state"] for email in listed)
        if not {"pending", "queued", "sending", "deferred"} & set(states):
            return states
    raise AssertionError(states)


def test_each_gets_one_however_often_it_is_run(
    production: Terminal, smtp_server: ScriptedSmtpServer, users_file: str
) -> None:
    """Bad rows are told with their line; a refused recipient harms nobody else."""
    smtp_server.script["rcpt"] = [Reply("550 5.1.1 no such mailbox"), Reply("450 4.2.1 greylisted")]
    production.worker("-c", "2")
    first = production.run("send", "welcome", "--users-file", users_file, "--json")
    assert first.code == 1
    assert first.err.startswith("line 5: email is not a valid email address")
    *emails, summary = first.lines
    assert (len(emails), summary["recorded"], summary["known"], summary["problems"]) == (COUNT, COUNT, 1, 1)
    assert finished(production, summary["campaign"]) == {"sent": COUNT - 1, "failed": 1}
    second = production.run("send", "welcome", "--users-file", users_file, "--json")
    assert (second.lines[-1]["recorded"], second.lines[-1]["campaign"]) == (0, summary["campaign"])
    production.run("worker", "--drain")
    assert len({message.message_id for message in smtp_server.messages}) == COUNT - 1
    assert len(smtp_server.messages) == COUNT - 1


def test_with_nothing_set_up_they_are_captured(terminal: Terminal, users_file: str) -> None:
    """From one terminal to the other, in memory."""
    sent = terminal.run("send", "welcome", "--users-file", users_file, "--campaign", "spring")
    assert f"{COUNT} emails recorded, 1 recorded before, 1 invalid row skipped; campaign spring" in sent.out
    assert terminal.run("worker", "--drain").code == 0
    assert finished(terminal, "spring") == {"captured": COUNT}


def test_other_words_are_another_campaign(terminal: Terminal, users_file: str) -> None:
    """The same list may get a second email, if subject, variables or template differ."""

    def campaign(*words: str) -> str:
        many = ("--users-file", users_file, "--json")
        return str(terminal.run("send", "email", *words, *many).lines[-1]["campaign"])

    words = (
        "--subject",
        "News",
        "--set",
        "body=It is ready.",
        "--set",
        "action_url=https://shop.example/new",
    )
    one, two = (*words, "--set", "title=One"), (*words, "--set", "title=Two")
    names = [campaign(*one), campaign(*one), campaign(*two), campaign(*one, "--template", "welcome")]
    assert names[0] == names[1]
    assert len(set(names)) == 3


def test_strict_sends_nothing_if_a_row_is_bad(terminal: Terminal, users_file: str) -> None:
    """And a dry run sends nothing anyway."""
    strict = terminal.run("send", "welcome", "--users-file", users_file, "--strict")
    assert (strict.code, "1 invalid row; nothing was sent" in strict.err) == (2, True)
    dry = terminal.run("send", "welcome", "--users-file", users_file, "--dry-run")
    assert f"{COUNT} emails would be sent, 1 already recorded; 1 invalid row." in dry.err
    assert terminal.run("list", "--json").out == ""


def test_all_users_need_a_name(terminal: Terminal) -> None:
    """Else running it again would send everybody a second copy."""
    assert terminal.run("send", "welcome", "--all-users").code == 2
    everybody = ("send", "welcome", "--all-users", "--campaign", "hello", "--yes", "--json")
    sent = terminal.run(*everybody)
    assert sent.lines[-1]["recorded"] == 3
    again = terminal.run(*everybody)
    assert (again.lines[-1]["recorded"], again.lines[-1]["known"]) == (0, 3)


def test_a_list_may_come_by_a_pipe(terminal: Terminal) -> None:
    """Ids of users, addresses, and variables of each row."""
    rows = [{"user_id": 1, "title": "One"}, {"email": "zoe@example.com", "title": "Two"}]
    listed = "\n".join(json.dumps({**row, "body": "It is ready."}) for row in rows)
    sent = terminal.run("send", "email", "--subject", "News", "--users-file", "-", "--json", stdin=listed)
    assert [email["to"] for email in sent.lines[:-1]] == ["ada@example.com", "zoe@example.com"]
    terminal.run("worker", "--drain")
    assert finished(terminal, sent.lines[-1]["campaign"]) == {"captured": 2}
