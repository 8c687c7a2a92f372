"""The JSON of an incident."""

from __future__ import annotations

from mailctl.monitoring.incident.models import Incident, IncidentProblem, ProblemSubject
from mailctl.views.incident import IncidentView
from tests.emails import NOW


def test_an_unknown_number_of_emails_is_null() -> None:
    """Programs must not take it for none."""
    first = IncidentProblem(subject=ProblemSubject.LOG, name="log", sentence="It is full", held_up=None)
    found = IncidentView.of(Incident(at=NOW, problems=(first,))).as_json()
    assert (found["ok"], found["headline"]) == (False, str(first))
    assert found["problems"] == [
        {
            "subject": "log",
            "name": "log",
            "is_failure": True,
            "sentence": "It is full",
            "held_up": None,
            "fix": "",
        }
    ]
