"""The values of an incident: problems, and the order in which they have to be fixed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


class ProblemSubject(StrEnum):
    """The subject of a problem, in the order in which problems have to be fixed: causes before effects."""

    LOG = "log"  #: the delivery log cannot be used
    BROKER = "broker"  #: the broker or the app cannot be used
    KEYS = "keys"  #: processes have different secret keys
    CLOCKS = "clocks"  #: the clock of a host is off
    SETTINGS = "settings"  #: processes have different logs, modes of capturing, or invalid settings
    WORKERS = "workers"  #: no worker takes emails, or one died, is stopped or stalled
    MAIL_SERVER = "mail-server"  #: a mail server does not work
    PAUSE = "pause"  #: an operator paused a queue or a kind
    TEMPLATES = "templates"  #: a kind of email cannot be composed
    USERS = "users"  #: users cannot be looked up
    CAMPAIGN = "campaign"  #: a campaign fails, or falls behind its rate
    ERRORS = "errors"  #: attempts fail in the same way
    COPIES = "copies"  #: emails may have arrived more than once
    RESULTS = "results"  #: the result backend does not work, which holds up no email
    DIFFERENCES = "differences"  #: workers differ in what may be on purpose
    SCHEDULE = "schedule"  #: emails wait for the time for which they are scheduled


_ORDER = tuple(ProblemSubject)


@dataclass(frozen=True, kw_only=True)
class IncidentProblem:
    """One thing that is wrong, or that explains why emails wait."""

    subject: ProblemSubject
    #: A stable name for programs; the same as that of a cause of `mailctl why` where there is one.
    name: str
    #: What is wrong and the evidence, with a capital letter and without a full stop.
    sentence: str
    #: What to do, with the command; "" if there is nothing to do.
    fix: str = ""
    #: How many emails it holds up; None if that cannot be known.
    held_up: int | None = 0
    #: False for a note, which explains something and needs no repair.
    is_failure: bool = True

    @property
    def effect(self) -> str:
        """How many emails it holds up, as a clause; "" if it holds up none."""
        if self.held_up is None:
            return "the number of waiting emails is unknown"
        if not self.held_up:
            return ""
        return f"{pluralize(self.held_up, 'email')} held up"

    def __str__(self) -> str:
        return f"{self.sentence} ({self.effect})" if self.effect else self.sentence


@dataclass(frozen=True, kw_only=True)
class Incident:
    """All problems at one time."""

    at: datetime
    #: In the order in which they have to be fixed; notes are last.
    problems: tuple[IncidentProblem, ...]
    #: What is in order, as a clause; shown if nothing is wrong.
    summary: str = ""

    @property
    def failures(self) -> tuple[IncidentProblem, ...]:
        """The problems that need a repair."""
        return tuple(problem for problem in self.problems if problem.is_failure)

    @property
    def is_ok(self) -> bool:
        """Whether nothing needs fixing."""
        return not self.failures

    @property
    def headline(self) -> str:
        """One line: the first problem and how many there are, or that nothing is wrong."""
        failures = self.failures
        if not failures:
            return f"Nothing is wrong: {self.summary}" if self.summary else "Nothing is wrong"
        more = f"; {len(failures) - 1} more" if len(failures) > 1 else ""
        return f"{failures[0]}{more}"


def in_order(problems: Iterable[IncidentProblem]) -> tuple[IncidentProblem, ...]:
    """Return problems in the order in which they have to be fixed, each name and sentence once.

    Notes come after failures. Within a subject, what holds up most emails comes first.
    """
    distinct = {(problem.name, problem.sentence): problem for problem in problems}

    def rank(problem: IncidentProblem) -> tuple[bool, int, int]:
        held_up = 10**9 if problem.held_up is None else problem.held_up
        return not problem.is_failure, _ORDER.index(problem.subject), -held_up

    return tuple(sorted(distinct.values(), key=rank))
