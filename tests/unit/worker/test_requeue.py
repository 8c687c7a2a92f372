"""Messages that return to the broker, and what is logged of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery
from celery.app.trace import build_tracer
from celery.app.trace import logger as trace_logger
from celery.exceptions import Reject

from mailctl.errors import LogUnavailable
from mailctl.worker import requeue
from mailctl.worker.requeue import is_not_of_requeued, requeue_if_log_unavailable

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def app() -> Celery:
    return Celery("app", set_as_current=False)


@pytest.fixture(autouse=True)
def filtered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's logger as a worker sets it up; without the delay."""
    monkeypatch.setattr(requeue, "_DELAY_SECONDS", 0)
    monkeypatch.setattr(trace_logger, "filters", [])
    trace_logger.addFilter(is_not_of_requeued)


def run(app: Celery, run: Callable[[], None]) -> str:
    """Return the state of a task that runs a function."""
    found = app.task(run, name=f"task-{id(run)}")
    return str(build_tracer(found.name, found, app=app, eager=True)("1", (), {})[1].state)


def test_it_is_logged_once_and_without_a_traceback(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    """Celery would log it again, with one."""

    def deliver() -> None:
        with requeue_if_log_unavailable("email 7"):
            raise LogUnavailable("the delivery log does not answer.", fix="Start it.")

    assert run(app, deliver) == "REJECTED"
    [message] = caplog.messages
    assert message.startswith("email 7: returned to the broker: the delivery log does not answer.")


def test_what_a_task_of_the_service_rejects_is_logged_as_before(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the service's to know why."""

    def reject() -> None:
        raise Reject("not now", requeue=True)

    assert run(app, reject) == "REJECTED"
    [record] = caplog.records
    assert record.exc_info is not None
