"""An email, a worker and other evidence, and what is diagnosed from them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mailctl.broker.messages import CeleryMessage, MessagePosition, MessageSearchResult
from mailctl.delivery_log.circuits import Circuit
from mailctl.delivery_log.pauses import Pause, PauseScope
from mailctl.diagnosis.models import Case, Cause, Evidence
from mailctl.diagnosis.rules import diagnose
from mailctl.domain.models import Email, Event
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from tests.emails import NOW, email
from tests.workers import worker

if TYPE_CHECKING:
    from mailctl.delivery_log.heartbeats import Worker

RECORDED = NOW - timedelta(minutes=3)
EMAIL = email(
    State.QUEUED,
    created_at=RECORDED,
    updated_at=RECORDED,
    due_at=RECORDED,
    queued_at=RECORDED,
    expires_at=NOW + timedelta(days=1),
)
PENDING = replace(EMAIL, state=State.PENDING, queued_at=None)
DEFERRED = replace(
    EMAIL,
    state=State.DEFERRED,
    attempts=2,
    not_before=NOW + timedelta(seconds=40),
    worker="celery@web",
    error="said so",
    reason_code=ReasonCode.DEFERRED,
)
WORKER = worker(queues=("celery", "mailctl.bulk"), started_at=NOW - timedelta(hours=1))
MESSAGE = CeleryMessage(
    task_id="e1",
    task="send_welcome_email_task",
    queue="celery",
    email_ids=("e1",),
    to=None,
    is_from_mailctl=True,
)
NOT_FOUND = MessageSearchResult(position=None, is_complete=True)
PAUSE = Pause(
    scope=PauseScope.KIND,
    name="welcome",
    reason="wrong link",
    actor="ada@ops",
    since=NOW - timedelta(hours=1),
)


def failed(email: Email, code: ReasonCode, **more: Any) -> Email:
    """Return an email that is not sent for a reason, in words that say nothing."""
    return replace(email, error="said so", reason_code=code, **more)


def circuit(stage: str, *, failures: int = 3) -> Circuit:
    """Return what is known of a server that does not work."""
    return Circuit(
        server="smtp:587",
        failures=failures,
        probes=0,
        reason=f"at {stage}: said so",
        stage=stage,
        since=NOW - timedelta(minutes=5),
        probe_at=NOW + timedelta(seconds=20),
    )


def event(
    state: State, text: str, *, code: ReasonCode | None = None, stage: str | None = None, actor: str = ""
) -> Event:
    """Return one step of an email's life."""
    return Event(
        at=NOW,
        state=state,
        attempt=1,
        worker=None,
        code=None,
        text=text,
        actor=actor or None,
        reason_code=code,
        stage=stage,
    )


def causes(email: Email, *events: Event, workers: tuple[Worker, ...] = (WORKER,), **more: Any) -> list[Cause]:
    """Return what is diagnosed."""
    evidence = Evidence(workers=workers, **more)
    return list(diagnose(Case(email=email, events=events, evidence=evidence, now=NOW)))


def names(*arguments: Any, **more: Any) -> list[str]:
    """Return the names of the causes, the first one first."""
    return [cause.name for cause in causes(*arguments, **more)]


def place(ahead: int | None) -> MessageSearchResult:
    """Return a message that was found."""
    return MessageSearchResult(
        position=MessagePosition(queue="celery", ahead=ahead, message=MESSAGE), is_complete=True
    )
