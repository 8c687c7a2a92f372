"""A canary: where its steps come from, and that nothing of it is left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from mailctl.delivery_log.outbox import RecordResult
from mailctl.domain.states import State
from mailctl.errors import ConfigurationError, InvalidInput, StillPending
from mailctl.monitoring.canary import CanaryStep, send_canary
from mailctl.settings import Settings
from tests.emails import email
from tests.unit.worker.fakes import Calls, parts

REPORT = [{"name": "rcpt", "ok": True, "detail": "250 ok", "seconds": 0.2}]


def event(state: State, at: datetime) -> Any:
    """Return the event of a canary."""
    return SimpleNamespace(state=state, at=at)


class Site:
    """A process with a memory broker, whose canary a worker's relay publishes."""

    def __init__(self, *found: Any, events: Any = (), **settings: Any) -> None:
        self.outbox = Calls(add=RecordResult(id="c1"))
        app = Celery("site", broker="memory://", backend="cache+memory://", set_as_current=False)
        self.runtime = parts(
            app=app,
            outbox=self.outbox,
            history=Calls(find=list(found), canary_report=tuple(REPORT), events=events),
            settings=Settings(email_from_address="app@example.com", **settings),
        )

    def send(self, *, to: str | None = None, timeout: float = 60.0) -> list[CanaryStep]:
        """Send a canary."""
        return send_canary(self.runtime, queue="celery", to=to, timeout=timeout)

    @property
    def recipient(self) -> str:
        """The recipient of the canary that was recorded."""
        [draft] = self.outbox.calls[0][1][0]
        return str(draft.content.user.email)


def answered() -> Any:
    """Return a canary that a worker has finished."""
    return (email(State.CAPTURED, id="c1", worker="celery@web"),)


def test_the_steps_have_the_times_of_the_events() -> None:
    """From recording to publishing, from there to the claim, and then what the worker reports."""
    start = datetime.now(UTC) + timedelta(hours=1)
    events = (
        event(State.QUEUED, start),
        event(State.SENDING, start + timedelta(seconds=3)),
        event(State.CAPTURED, start + timedelta(seconds=9)),
    )
    publish, worker, rcpt = Site(answered(), events=events).send()
    assert (publish.name, publish.detail) == ("publish", "a worker's relay published it")
    assert publish.seconds == pytest.approx(3600, abs=60)
    assert (worker.name, worker.seconds) == ("worker", 3.0)
    assert worker.detail == "celery@web took the canary from queue 'celery'"
    assert rcpt == CanaryStep(name="rcpt", ok=True, detail="250 ok", seconds=0.2)


def test_a_clock_that_is_behind_takes_no_negative_time() -> None:
    """The worker may run on another host."""
    early = datetime.now(UTC) - timedelta(hours=1)
    publish, worker, _ = Site(
        answered(), events=(event(State.QUEUED, early), event(State.SENDING, early - timedelta(seconds=1)))
    ).send()
    assert (publish.seconds, worker.seconds) == (0.0, 0.0)


@pytest.mark.parametrize(("to", "expected"), [(None, "app@example.com"), ("zoe@example.com",) * 2])
def test_the_sender_is_the_recipient_unless_another_is_given(to: str | None, expected: str) -> None:
    """It certainly exists."""
    site = Site(answered())
    site.send(to=to)
    assert site.recipient == expected


def test_a_canary_is_deleted_when_it_has_answered() -> None:
    """It is no email."""
    site = Site(answered())
    site.send()
    assert site.outbox.calls[-1] == ("delete_canary", ("c1",), {})


@pytest.mark.parametrize("found", [(), (email(State.QUEUED, id="c1"),)])
def test_a_canary_that_nobody_answers_is_deleted_too(found: Any) -> None:
    """Otherwise a worker that is started later would answer nobody."""
    site = Site(found)
    with pytest.raises(StillPending, match="No worker on queue 'celery' answered in time"):
        site.send(timeout=0)
    assert site.outbox.names == ["add", "delete_canary"]


def test_an_invalid_recipient_is_refused_before_anything_is_recorded() -> None:
    """As every address."""
    site = Site()
    with pytest.raises(InvalidInput):
        site.send(to="zoe@example.com\nBcc: max@example.com")
    assert site.outbox.calls == []


def test_without_a_result_backend_no_answer_can_come_back() -> None:
    """Nothing is published then."""
    app = Celery("site", broker="redis://localhost:1/0", set_as_current=False)
    runtime = parts(app=app, settings=Settings())
    with pytest.raises(ConfigurationError, match="has no result backend"):
        send_canary(runtime, queue="celery", to=None, timeout=1)
