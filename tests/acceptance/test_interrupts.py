"""Ctrl-C while a command waits or works: what is done stays, is counted, and can be found and undone."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.campaign import CampaignRecorder
from mailctl.operations.bulk_actions import STOP_BATCH_SIZE
from mailctl.operations.selection import CHUNK_SIZE
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.acceptance.screen import MOTION, Screen
from tests.acceptance.terminal import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.desk import Desk
    from tests.acceptance.terminal import Terminal

#: As many as take several transactions.
COUNT = 6 * CHUNK_SIZE
STOPPED_COUNT = 12 * STOP_BATCH_SIZE


#: Resending composes each email: fewer take as long.
RESENT_COUNT = 3 * CHUNK_SIZE


@pytest.fixture
def many(desk: Desk, terminal: Terminal) -> Path:
    """A folder with a campaign of many emails."""
    return with_campaign(terminal, COUNT)


@pytest.fixture
def very_many(desk: Desk, terminal: Terminal) -> Path:
    """A folder with a campaign of so many emails that stopping them takes a moment."""
    return with_campaign(terminal, STOPPED_COUNT)


def with_campaign(terminal: Terminal, count: int) -> Path:
    """Record a campaign, and return the folder with its log."""
    runtime = Runtime(Settings(mailctl_home=terminal.folder / ".mailctl"))
    try:
        rows = [RecipientRow(line=n, email=f"user{n}@example.com") for n in range(count)]
        for _ in CampaignRecorder(
            runtime, EmailRequest(kind=BUILT_IN_KINDS["welcome"], campaign="spring")
        ).record(rows):
            pass
    finally:
        runtime.close()
    return terminal.folder


def states(folder: Path) -> Counter[str]:
    """Return how many emails are in each state."""
    with closing(sqlite3.connect(folder / ".mailctl" / "mailctl.db", timeout=PATIENCE)) as connection:
        return Counter(dict(connection.execute("SELECT state, count(*) FROM mailctl_emails GROUP BY state")))


def interrupt(folder: Path, *words: str, columns: int = 100) -> list[str]:
    """Run a command, press Ctrl-C when it has changed some emails; return the lines left on the screen."""
    before = states(folder)
    with Screen(folder, *words, columns=columns, is_forked=True) as screen:
        screen.wait_until(lambda: states(folder) != before, every=0.01)
        screen.press(b"\x03")
        assert screen.wait_for_end() == 130, screen.text
        assert MOTION.search(screen.text) is None, screen.text
        screen.assert_as_before()
        return screen.text.replace("^C", "").strip().splitlines()


def number_in(line: str) -> int:
    """Return the number that a line begins with."""
    return int(line.split()[0].replace(",", ""))


@pytest.mark.parametrize(
    ("words", "done", "state"),
    [
        ("hold --campaign spring --yes", "held", "held"),
        ("cancel --campaign spring --yes", "cancelled", "cancelled"),
        ("queue purge mailctl.bulk --yes", "purged", "cancelled"),
    ],
)
def test_what_was_stopped_is_undone_by_the_command_that_is_printed(
    very_many: Path, desk: Desk, words: str, done: str, state: str
) -> None:
    """One line says how many, exactly, and how to undo all of it."""
    [line] = interrupt(very_many, *words.split())
    told = re.fullmatch(rf"[\d,]+ {done}; undo with: mailctl (release .*)", line)
    assert told is not None, line
    number = number_in(line)
    assert 0 < number < STOPPED_COUNT
    assert states(very_many) == {"pending": STOPPED_COUNT - number, state: number}
    code, released, _ = desk.run(*told[1].split(), "--yes")
    assert (code, {each["outcome"] for each in released}) == (0, {"done"})
    assert states(very_many) == {"pending": STOPPED_COUNT}


@pytest.mark.parametrize(
    ("words", "done", "count"),
    [("release", "released", COUNT), ("retry", "retried", COUNT), ("resend", "resent", RESENT_COUNT)],
)
def test_what_goes_out_again_goes_on_with_the_same_command(
    terminal: Terminal, desk: Desk, words: str, done: str, count: int
) -> None:
    """It does not do anything twice."""
    many = with_campaign(terminal, count)
    assert desk.run("cancel", "--campaign", "spring", "--yes")[0] == 0
    command = (words, "--state", "cancelled", "--yes")
    [line] = interrupt(many, *command)
    assert line.endswith(f" {done}; repeat the command to continue.")
    code, rest, _ = desk.run(*command)
    assert (code, [each["outcome"] for each in rest].count("done")) == (0, count - number_in(line))
    assert states(many)["pending"] == count


def test_of_named_emails_each_that_was_done_is_told(many: Path, desk: Desk) -> None:
    """The rest is as it was."""
    ids = [each["task_id"] for each in desk.run("list", "--limit", str(COUNT))[1]]
    *_, last = interrupt(many, "hold", *ids, columns=200)
    assert last.endswith(" held; the others were not changed.")
    held = number_in(last)
    assert states(many) == {"pending": COUNT - held, "held": held}


def test_a_campaign_says_its_name_and_goes_on(terminal: Terminal, desk: Desk) -> None:
    """What is recorded is counted; the same command records the rest."""
    assert desk.run("db", "upgrade")[0] == 0
    rows = "".join(f"user{number}@example.com\n" for number in range(4 * COUNT))
    (terminal.folder / "users.csv").write_text(f"email\n{rows}")
    command = ("send", "welcome", "--users-file", "users.csv")
    [line] = interrupt(terminal.folder, *command)
    told = re.fullmatch(r"Stopped: (\d+) of \d+ recorded, campaign (\S+)\. Repeat the command .*", line)
    assert told is not None, line
    assert states(terminal.folder) == {"pending": int(told[1])}
    code, printed, _ = desk.run(*command)
    assert (code, printed[-1]["known"], printed[-1]["campaign"]) == (0, int(told[1]), told[2])


def test_an_email_that_is_waited_for_is_known_by_its_id(terminal: Terminal, desk: Desk) -> None:
    """It is printed before the waiting begins."""
    with Screen(terminal.folder, "send", "welcome", "--user-id", "1", "--wait") as screen:
        screen.wait_for("waiting for ")
        screen.send_signal(signal.SIGINT)
        assert screen.wait_for_end() == 130
        assert MOTION.search(screen.text) is None
        [task_id] = re.findall(r"waiting for ([0-9a-f-]{36})", screen.text)
    [found] = desk.run("status", task_id)[1]
    assert found["state"] == "pending"


def test_a_program_gets_an_object_for_each_email_that_was_waited_for(terminal: Terminal, desk: Desk) -> None:
    """Also when it is interrupted, with the state that the email is in."""
    window = terminal.open(
        terminal.python,
        "-m",
        "mailctl",
        "send",
        "welcome",
        "--user-id",
        "1",
        "--user-id",
        "2",
        "--wait",
        "--json",
    )
    window.wait_until_printed("to grace@")
    assert window.interrupt() == 130
    objects = [line for line in window.output.splitlines() if line.startswith("{")]
    assert [json.loads(line)["state"] for line in objects] == ["pending", "pending"]


def test_nothing_moves_where_nobody_looks(many: Path, terminal: Terminal) -> None:
    """In a pipe there are results, and what was said for people besides; nothing else."""
    done = terminal.run("hold", "--campaign", "spring", "--yes")
    assert (done.code, done.out) == (0, "")
    [first, second] = done.err.splitlines()
    assert first == f"{COUNT} emails held."
    assert second.startswith("Undo with: mailctl release --stopped-by hold-")
    released = terminal.run(*second.split()[3:], "--yes", "--json")
    assert {line["outcome"] for line in released.lines} == {"done"}
    assert released.err == f"{COUNT} emails released.\n"
