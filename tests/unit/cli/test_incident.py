"""What `mailctl incident` says of problems that do not fit on the screen."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.cli.commands.incident import MAX_LINES, _describe_rest, _show
from mailctl.cli.terminal.output import Output
from mailctl.monitoring.incident.models import Incident, IncidentProblem, ProblemSubject

if TYPE_CHECKING:
    import pytest


def test_notes_are_not_counted_as_problems() -> None:
    """They need no repair."""
    fail = IncidentProblem(subject=ProblemSubject.LOG, name="log", sentence="It is full")
    note = IncidentProblem(subject=ProblemSubject.LOG, name="n", sentence="It is new", is_failure=False)
    assert _describe_rest([fail, note, note]) == "1 more problem and 2 more notes"
    assert _describe_rest([note]) == "1 more note"


def test_everything_is_shown_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise ten lines, and how to see the others."""
    problems = tuple(
        IncidentProblem(subject=ProblemSubject.LOG, name=str(number), sentence=f"It is full {number}")
        for number in range(20)
    )
    found = Incident(at=datetime.now(UTC), problems=problems)
    _show(Output(), found, max_lines=MAX_LINES)
    printed = capsys.readouterr()
    assert (len(printed.out.splitlines()), printed.err) == (
        9,
        "11 more problems; see all: mailctl incident --all\n",
    )
    _show(Output(), found, max_lines=math.inf)
    printed = capsys.readouterr()
    assert (len(printed.out.splitlines()), printed.err) == (20, "")
