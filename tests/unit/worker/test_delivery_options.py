"""The time limit of a task, after which its attempts are cancelled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from billiard.process import current_process

from mailctl.worker.delivery_options import time_limit_of


def task(**values: Any) -> Any:
    """Return a task with limits of the message, of the task and of the app."""
    given: dict[str, Any] = {
        "timelimit": None,
        "soft": None,
        "hard": None,
        "app_soft": None,
        "app_hard": None,
    }
    given |= values
    conf = SimpleNamespace(task_soft_time_limit=given["app_soft"], task_time_limit=given["app_hard"])
    return SimpleNamespace(
        request=SimpleNamespace(timelimit=given["timelimit"]),
        soft_time_limit=given["soft"],
        time_limit=given["hard"],
        app=SimpleNamespace(conf=conf),
    )


@pytest.fixture
def pool_process() -> Any:
    """A process of a pool, by its name."""
    process = current_process()
    kept, process.name = process.name, "ForkPoolWorker-1"
    yield
    process.name = kept


@pytest.mark.usefixtures("pool_process")
@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ({}, None),
        ({"app_hard": 1800}, 1800.0),
        ({"app_hard": 1800, "app_soft": 60}, 60.0),
        ({"app_hard": 1800, "soft": 90}, 90.0),
        ({"hard": 30, "soft": 90}, 30.0),
        ({"app_hard": 1800, "timelimit": [10, 5]}, 5.0),
        ({"app_hard": 1800, "timelimit": [None, None]}, 1800.0),
    ],
)
def test_the_first_limit_counts(values: dict[str, Any], seconds: float | None) -> None:
    """The message's comes before the task's, and that before the app's."""
    assert time_limit_of(task(**values)) == seconds


def test_a_pool_without_processes_has_no_limits() -> None:
    """Celery would not interrupt its tasks."""
    assert time_limit_of(task(app_hard=1)) is None
