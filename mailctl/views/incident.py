"""The view of an incident."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mailctl.monitoring.incident.models import ProblemSubject
from mailctl.views.base import Count, Timestamp, View

if TYPE_CHECKING:
    from mailctl.monitoring.incident.models import Incident, IncidentProblem


class ProblemView(View):
    """One thing that is wrong, or that explains why emails wait."""

    subject: ProblemSubject
    name: str = Field(description="A stable name; that of a cause of `mailctl why` where there is one.")
    is_failure: bool = Field(description="False for a note, which needs no fix.")
    sentence: str = Field(description="What is wrong, and the evidence.")
    held_up: Count | None = Field(description="How many emails it holds up; null if that cannot be known.")
    fix: str = Field(description="What to do, with the command; empty if there is nothing to do.")

    @classmethod
    def of(cls, problem: IncidentProblem) -> ProblemView:
        """Return the view of a problem."""
        return cls.model_validate(problem)


class IncidentView(View):
    """The current problems, in the order in which they have to be fixed."""

    ok: bool = Field(description="Whether nothing needs fixing.")
    at: Timestamp
    headline: str = Field(description="The first problem in one line, or that nothing is wrong.")
    problems: list[ProblemView]

    @classmethod
    def of(cls, incident: Incident) -> IncidentView:
        """Return the view of an incident."""
        return cls(
            ok=incident.is_ok,
            at=incident.at,
            headline=incident.headline,
            problems=[ProblemView.of(problem) for problem in incident.problems],
        )
