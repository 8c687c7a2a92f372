"""A process on a delivery log in which there are workers and emails."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.catalog import WELCOME
from mailctl.domain.models import Content, Deferral, User
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.monitoring.incident.evidence import LogFacts
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.workers import worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailctl.monitoring.incident.models import IncidentProblem

OWN = "own:25"


class Scene:
    """What an incident is found in.

    Args:
        runtime: the components of the process that looks.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def facts(self) -> LogFacts:
        """Return the facts as they are now."""
        return LogFacts(self.runtime)

    def worker(self, name: str = "good", *, queues: tuple[str, ...] = ("celery",), **identity: Any) -> None:
        """Let a worker of another host be alive."""
        now = self.runtime.clock()
        fields = {"id": name, "name": name, "host": "elsewhere", "queues": queues}
        alive = worker(now, **fields, identity=replace(self.runtime.identity, **identity))
        self.runtime.workers.record_heartbeat(alive)

    def add(self, count: int = 1) -> list[str]:
        """Record emails that are due."""
        contents = [Content(user=User(email=f"zoe{n}@example.com")) for n in range(count)]
        return list(Enqueuer(self.runtime).record(EmailRequest(kind=WELCOME), contents).ids)

    def change(self, email_id: str, **values: Any) -> None:
        """Set columns of an email."""
        with writing(self.runtime.engine) as connection:
            connection.execute(emails.update().where(emails.c.id == email_id).values(**values))

    def claim(self, email_id: str, by: str = "good") -> Any:
        """Let a worker claim an email."""
        [claim] = self.runtime.claims.claim([email_id], worker=by).claims
        return claim

    def defer(self, email_id: str, code: int | None, text: str, *, stage: str) -> None:
        """Let an attempt fail for now."""
        outcome = Outcome(kind=OutcomeKind.DEFERRED, reply=SmtpReply(code=code, text=text), stage=stage)
        until = self.runtime.clock() + timedelta(minutes=1)
        deferral = Deferral(claim=self.claim(email_id), until=until, outcome=outcome)
        self.runtime.attempt_results.defer(deferral)

    def refuse(self, email_id: str, code: int, enhanced: str, text: str) -> None:
        """Let an attempt fail for good at RCPT."""
        reply = SmtpReply(code=code, enhanced=enhanced, text=text)
        outcome = Outcome(kind=OutcomeKind.REFUSED, reply=reply, stage="rcpt")
        reason = Reason(code=ReasonCode.REFUSED, text=str(reply))
        claim = self.claim(email_id)
        self.runtime.attempt_results.finish(claim, State.FAILED, outcome=outcome, reason=reason)


def names(problems: Iterator[IncidentProblem]) -> list[str]:
    """Return the names of problems."""
    return [problem.name for problem in problems]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A process that sends through `OWN`."""
    settings = Settings(mailctl_home=tmp_path, email_enabled=True, email_host="own", email_port=25)
    runtime = Runtime(settings)
    yield Scene(runtime)
    runtime.close()
