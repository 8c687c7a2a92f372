"""The order of problems, and the line that stands for all of them."""

from __future__ import annotations

from typing import Any

from mailctl.monitoring.incident.models import Incident, IncidentProblem, ProblemSubject, in_order
from tests.emails import NOW


def problem(name: str, subject: ProblemSubject = ProblemSubject.ERRORS, **more: Any) -> IncidentProblem:
    """Return a problem."""
    return IncidentProblem(subject=subject, name=name, sentence=f"It is {name}", **more)


def test_causes_come_before_effects_and_notes_last() -> None:
    """Within a subject, what holds up most emails is first; the unknown is worst."""
    few, many, unknown = problem("few", held_up=1), problem("many", held_up=9), problem("all", held_up=None)
    note = problem("note", ProblemSubject.LOG, is_failure=False)
    broker = problem("broker", ProblemSubject.BROKER)
    assert in_order([note, few, many, unknown, broker]) == (broker, unknown, many, few, note)


def test_the_same_is_said_once() -> None:
    """Several detectors may find it."""
    assert len(in_order([problem("same"), problem("same"), problem("other")])) == 2


def test_the_headline_is_the_first_problem_that_needs_a_repair() -> None:
    """With how many emails it holds up, and how many problems there are more."""
    note = problem("note", is_failure=False)
    found = Incident(at=NOW, problems=(problem("bad", held_up=2), problem("worse"), note))
    assert (found.headline, found.is_ok) == ("It is bad (2 emails held up); 1 more", False)
    assert Incident(at=NOW, problems=(problem("bad", held_up=1),)).headline == "It is bad (1 email held up)"


def test_notes_alone_are_no_incident() -> None:
    """Then it says what is in order."""
    found = Incident(at=NOW, problems=(problem("note", is_failure=False),), summary="1 worker alive")
    assert (found.headline, found.is_ok) == ("Nothing is wrong: 1 worker alive", True)
