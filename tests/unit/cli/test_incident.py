"""What `mailctl incident` says of problems that do not fit on the screen."""

from __future__ import annotations

from mailctl.cli.commands.incident import _describe_rest
from mailctl.monitoring.incident.models import IncidentProblem, ProblemSubject


def test_notes_are_not_counted_as_problems() -> None:
    """They need no repair."""
    fail = IncidentProblem(subject=ProblemSubject.LOG, name="log", sentence="It is full")
    note = IncidentProblem(subject=ProblemSubject.LOG, name="n", sentence="It is new", is_failure=False)
    assert _describe_rest([fail, note, note]) == "1 more problem and 2 more notes"
    assert _describe_rest([note]) == "1 more note"
