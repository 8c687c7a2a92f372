"""Campaigns as operators see and steer them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.domain.outcomes import Outcome, OutcomeKind
from mailctl.domain.states import State
from tests.integration.commands import DEAD, fail

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.commands import Mailctl

SEND = ("send", "welcome", "--users-file", "users.csv", "--campaign", "spring")


@pytest.fixture
def ids(mailctl: Mailctl, tmp_path: Path) -> list[str]:
    """A campaign to four people, recorded at ten emails a second."""
    rows = "".join(f"u{number}@example.com\n" for number in range(4))
    (tmp_path / "users.csv").write_text(f"email\n{rows}")
    assert mailctl(*SEND, "--rate", "10/s").code == 0
    return [each["task_id"] for each in mailctl("list", "--campaign", "spring", "--json").lines]


def test_progress_and_failures_are_shown(mailctl: Mailctl, ids: list[str]) -> None:
    """In the list, and in detail by reason."""
    fail(ids[0], Outcome(kind=OutcomeKind.ACCEPTED), state=State.SENT)
    fail(ids[1], DEAD)
    [listed] = mailctl("campaign", "--json").lines
    assert (listed["emails"], listed["sent"], listed["failed"], listed["waiting"]) == (4, 1, 1, 2)
    assert (listed["progress"], listed["rate"]) == (0.5, 10.0)
    [shown] = mailctl("campaign", "show", "spring", "--json").lines
    assert [group["cause"] for group in shown["errors"]] == ["recipient_refused"]
    text = mailctl("campaign", "show", "spring").out
    assert "50% of 4 emails" in text
    assert "10/s" in text
    assert mailctl("campaign", "show", "sprung").code == 3


def test_captured_emails_are_not_called_sent(mailctl: Mailctl, ids: list[str]) -> None:
    """They are in files; and without a worker, no end is expected of the others."""
    fail(ids[0], Outcome(kind=OutcomeKind.CAPTURED), state=State.CAPTURED)
    heading, row = (line.split("  ") for line in mailctl("campaign").out.splitlines())
    assert [cell.strip() for cell in row if cell][-1] == "1 captured"
    assert "sent" in "".join(heading)
    assert "no worker is alive; start one: mailctl worker" in mailctl("campaign", "show", "spring").out


def test_a_campaign_is_paused_and_resumed(mailctl: Mailctl, ids: list[str]) -> None:
    """Its emails say so, and the command that resumes it is printed."""
    paused = mailctl("campaign", "pause", "spring", "--reason", "wrong link")
    assert "Resume with: mailctl campaign resume spring" in paused.out
    [first, *_] = mailctl("why", ids[0], "--json").lines[0]["causes"]
    assert (first["cause"], first["next_step"]) == ("paused", "mailctl campaign resume spring")
    assert "wrong link" in mailctl("queue", "list").err
    assert mailctl("campaign", "resume", "spring", "--json").lines[0]["waiting"] == 4
    assert mailctl("campaign", "resume", "spring").code == 3
    assert mailctl("campaign", "pause", "sprung").code == 3


def test_statistics_add_up_for_a_cancelled_campaign(mailctl: Mailctl, ids: list[str]) -> None:
    """Of four emails, those that will never be sent are not missing."""
    assert mailctl("campaign", "cancel", "spring", "--yes").code == 0
    lines = mailctl("stats", "--campaign", "spring").out.splitlines()
    figures = dict(line.split()[:2] for line in lines if line.startswith(("recorded ", "cancelled ")))
    assert figures["cancelled"] == "4"


def test_a_repeated_command_says_how_it_changes_the_pace(mailctl: Mailctl, ids: list[str]) -> None:
    """Without a rate it changes nothing, and says that, too."""
    faster = mailctl(*SEND, "--rate", "50/s")
    assert "changes from 10/s to 50/s; undo with: mailctl campaign set-rate spring 10/s" in faster.err
    assert "stays 50/s" in mailctl(*SEND).err
    assert "rate" not in mailctl(*SEND, "--rate", "50/s").err
    slower = mailctl("campaign", "set-rate", "spring", "1/m")
    assert slower.out == "The rate of campaign spring is now 1/m; it was 50/s.\n"
    assert mailctl("campaign", "set-rate", "spring", "none", "--json").lines[0]["rate"] is None
    assert mailctl("campaign", "set-rate", "spring", "fast").code == 2


def test_a_campaign_is_cancelled_and_released(mailctl: Mailctl, ids: list[str]) -> None:
    """What was sent stays as it is."""
    fail(ids[0], Outcome(kind=OutcomeKind.ACCEPTED), state=State.SENT)
    assert "3  would be cancelled" in mailctl("campaign", "cancel", "spring", "--dry-run").out
    assert mailctl("campaign", "cancel", "spring").code == 4
    assert mailctl("campaign", "cancel", "spring", "--yes").code == 0
    [listed] = mailctl("campaign", "list", "--json").lines
    assert listed["states"] == {"sent": 1, "cancelled": 3}
    assert mailctl("campaign").out.splitlines()[1].endswith("3 cancelled")
