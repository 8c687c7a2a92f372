"""Calls that a process publishes: recorded once the broker has the message, or as failed."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from mailctl import runtime
from mailctl.domain.catalog import GENERIC
from mailctl.domain.states import State
from mailctl.domain.task_mapping import OwnTask
from mailctl.recorder import publishing, writer
from mailctl.recorder.calls import make_call
from mailctl.recorder.publishing import PublishRecorder
from mailctl.settings import Settings
from tests.recorded_app import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TASK = OwnTask(name="shop.send", kind="email", addresses=("to",))


@pytest.fixture(autouse=True)
def fresh_log(tmp_path: Path) -> Iterator[None]:
    """A delivery log of the test's own, and a writer that knows of no other."""
    writer.close()
    runtime.configure(Settings(mailctl_home=tmp_path))
    yield
    writer.close()


def app_on(broker: str) -> Celery:
    """Return an app that connects to nothing."""
    return Celery("shop", broker=broker, set_as_current=False)


def begin(recorder: PublishRecorder, *ids: str) -> None:
    """Begin to publish calls with these task ids."""
    for each in ids:
        call = make_call(TASK, each, (), {"to": f"{each}@example.com"}, parameters=(), queue="shop")
        assert call is not None
        recorder.begin(call, GENERIC)


def states() -> dict[str, State]:
    """Return the states of all emails, by id."""
    return {email.id: email.state for email in recorded()}


@pytest.mark.parametrize(
    ("broker", "state"), [("redis://127.0.0.1:1/0", State.QUEUED), ("memory://", State.PENDING)]
)
def test_a_call_is_recorded_when_the_broker_has_its_message(broker: str, state: State) -> None:
    """No other process sees a memory broker, so a relay publishes the email."""
    recorder = PublishRecorder(app_on(broker))
    begin(recorder, "m1")
    recorder.confirm("m1")
    assert states() == {"m1": state}


def test_a_confirmation_of_an_unknown_call_records_nothing() -> None:
    """Of any other task of the service, or of one that was recorded already."""
    recorder = PublishRecorder(app_on("memory://"))
    begin(recorder, "m1")
    for _ in range(2):
        recorder.confirm("m1")
    recorder.confirm("m2")
    recorder.confirm(None)
    assert recorder._calls == {}
    assert states() == {"m1": State.PENDING}


def test_what_is_not_published_when_the_process_ends_has_failed() -> None:
    """Nobody will confirm it any more."""
    recorder = PublishRecorder(app_on("memory://"))
    begin(recorder, "m1", "m2")
    recorder.confirm("m2")
    assert states() == {"m1": State.FAILED, "m2": State.PENDING}
    assert recorder._calls == {}


@pytest.mark.parametrize(("timeout", "state"), [(3600.0, State.PENDING), (-1.0, State.FAILED)])
def test_publishing_has_time(timeout: float, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery may be waiting for the broker; afterwards the call counts as failed."""
    monkeypatch.setattr(publishing, "PUBLISH_TIMEOUT_SECONDS", timeout)
    recorder = PublishRecorder(app_on("memory://"))
    begin(recorder, "m1")
    recorder._fail_overdue(runtime.current())
    recorder.confirm("m1")
    assert states() == {"m1": state}


def test_a_forked_child_does_not_fail_what_its_parent_publishes() -> None:
    """The child would record it as failed when it ends."""
    recorder = PublishRecorder(app_on("memory://"))
    begin(recorder, "m1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the writer is a thread
        child = os.fork()
    if child == 0:
        os._exit(len(recorder._calls))
    _, status = os.waitpid(child, 0)
    assert (os.waitstatus_to_exitcode(status), len(recorder._calls)) == (0, 1)
