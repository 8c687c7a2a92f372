"""Checks of a service's app with its own tasks: each gap in what mailctl can know is a finding with a fix."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mailctl.celery_app import RECORDER_ATTRIBUTE, app_from_settings
from mailctl.checks.app import check_app
from mailctl.checks.own_tasks import check_recording
from mailctl.checks.workers import DiscoveredWorkers
from mailctl.settings import Settings
from tests.unit.checks.samples import FAIL, OK, WARN, by_name, write_module
from tests.workers import worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailctl.checks.finding import Finding, FindingStatus

_APP = """
from celery import Celery
app = Celery('shop', broker='{broker}', backend={backend!r}, set_as_current=False)
{more}
"""
_TASK = """
@app.task(name='send_welcome_email_task', lazy=False, shared=False)
def greet(user_data):
    return True
"""


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Finding]]:
    """Checks an app that is made of these parts."""
    count = iter(range(99))

    def check_one(
        *,
        broker: str = "redis://h/0",
        backend: str | None = "redis://h/0",
        more: str = "",
        task: str = _TASK,
        workers: DiscoveredWorkers = DiscoveredWorkers(),  # noqa: B008 - frozen
        **settings: str,
    ) -> dict[str, Finding]:
        source = _APP.format(broker=broker, backend=backend, more=more) + task
        module = write_module(f"shop_of_check_{next(count)}", source, tmp_path, monkeypatch)
        made = Settings(mailctl_app=f"{module}:app", **settings)  # type: ignore[arg-type]
        found = by_name(check_app(made))
        return found | by_name(check_recording(made, app_from_settings(made), workers))

    return check_one


def test_results_that_can_be_read_are_fine(check: Callable[..., dict[str, Finding]]) -> None:
    """The finding of its task says that it replaces ours."""
    found = check()
    assert found["send_welcome_email_task"].status is OK
    assert found["own results"].status is OK


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"backend": "rpc://"}, "rpc://"),
        ({"backend": "cache+memory://"}, "cache+memory://"),
        ({"backend": None}, "no result backend"),
    ],
)
def test_results_that_nobody_can_read_are_reported(
    check: Callable[..., dict[str, Finding]], parts: dict[str, str | None], reason: str
) -> None:
    """The fix is the recorder, or another backend; with the recorder nothing is wrong."""
    found = check(**parts)["own results"]
    assert (found.status, reason in found.detail, "record_tasks" in found.fix) == (WARN, True, True)
    recorded = f"{parts.get('more') or ''}\nsetattr(app, {RECORDER_ATTRIBUTE!r}, object())"
    assert check(**parts | {"more": recorded})["own results"].status is OK


def test_ignored_results_are_read_because_mailctl_asks_for_them(
    check: Callable[..., dict[str, Finding]],
) -> None:
    """What a message asks for overrides the setting of the app."""
    found = check(more="app.conf.task_ignore_result = True")["own results"]
    assert (found.status, "task_ignore_result" in found.detail) == (OK, True)


def test_mapped_tasks_are_own_tasks_too(
    check: Callable[..., dict[str, Finding]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An app that keeps none of mailctl's names, as with Django's email tasks, needs a recorder as well."""
    mapping = write_module("shop_mapping", "TASKS = {'shop.mail': {}}", tmp_path, monkeypatch)
    task = _TASK.replace("send_welcome_email_task", "shop.mail")
    found = check(task=task, backend="rpc://", mailctl_tasks=f"{mapping}:TASKS")
    assert (found["recorder"].status, found["own results"].status) == (WARN, WARN)


def test_with_a_memory_broker_only_mailctls_worker_runs_the_tasks(
    check: Callable[..., dict[str, Finding]],
) -> None:
    """It reads the results in its own process."""
    assert check(broker="memory://", backend="cache+memory://")["own results"].status is OK


def test_a_service_without_a_recorder_is_told_so(check: Callable[..., dict[str, Finding]]) -> None:
    """What its own code publishes is not in the log."""
    found = check()["recorder"]
    assert (found.status, "record_tasks" in found.fix) == (WARN, True)
    assert check(more=f"setattr(app, {RECORDER_ATTRIBUTE!r}, object())")["recorder"].status is OK


def test_a_worker_of_mailctl_records_the_tasks_that_it_runs(check: Callable[..., dict[str, Finding]]) -> None:
    """Their results need not be read then, unless a plain worker runs some of them."""
    ours = DiscoveredWorkers(heartbeats=(worker(name="celery@a"),))
    found = check(backend=None, workers=ours)
    assert (found["recorder"].status, found["own results"].status) == (OK, OK)
    both = replace(ours, queues_by_node={"celery@a": ("celery",), "plain@b": ("celery",)})
    found = check(backend=None, workers=both)
    assert (found["recorder"].status, found["own results"].status) == (WARN, WARN)
    assert "recorded by celery@a, but not by plain@b" in found["recorder"].detail


def test_eager_tasks_are_a_finding_and_no_warning(check: Callable[..., dict[str, Finding]]) -> None:
    """Celery's own warning would be printed by every `send`."""
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        eager = "app.conf.task_always_eager = True"
        found = check(broker="memory://", backend="cache+memory://", more=eager)
        sys.modules["shop_of_check_0"].app.send_task("anything")
    assert found["task_always_eager"].status is WARN
    assert raised == []


def test_an_app_without_own_tasks_has_none_of_these_findings(
    check: Callable[..., dict[str, Finding]],
) -> None:
    """Its tasks are ours, and write to the log."""
    found = check(task="", backend="rpc://")
    assert not found.keys() & {"own results", "recorder", "task_always_eager"}


@pytest.mark.parametrize(
    ("source", "status", "said"),
    [
        ("def outcome(task, value):\n    return 'sent' if value else 'failed'\n", OK, "says what"),
        ("def outcome(task, value):\n    return value['state']\n", WARN, "raised TypeError"),
        ("def outcome(task, value):\n    return 'delivered'\n", WARN, "which is not an outcome"),
        ("def outcome(value):\n    return None\n", WARN, "raised TypeError"),
        ("outcome = 7\n", FAIL, "not a function"),
        ("raise ValueError('broken')\n", FAIL, "cannot be imported"),
    ],
)
def test_the_translator_of_results_is_tried(
    check: Callable[..., dict[str, Finding]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    source: str,
    status: object,
    said: str,
) -> None:
    """With what tasks return that tell little."""
    module = write_module("shop_outcomes", source, tmp_path, monkeypatch)
    found = check(mailctl_result_outcome=f"{module}:outcome")["MAILCTL_RESULT_OUTCOME"]
    assert found.status is status
    assert said in found.detail


@pytest.mark.parametrize(
    ("tasks", "status", "text"),
    [
        ('{"send_welcome_email_task": {"address": "to"}}', OK, "maps 1 tasks of the app"),
        ('{"shop.gone": {"address": "to"}}', WARN, "The app has no task shop.gone."),
        ('{"shop.gone": {"adress": "to"}}', FAIL, "there is no field adress"),
    ],
)
def test_the_mapping_of_tasks_is_read(
    tasks: str,
    status: FindingStatus,
    text: str,
    check: Callable[..., dict[str, Finding]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A name that no task has would record nothing."""
    module = write_module("shop_mapping_of_check", f"TASKS = {tasks}\n", tmp_path, monkeypatch)
    found = check(mailctl_tasks=f"{module}:TASKS")["MAILCTL_TASKS"]
    assert (found.status, text in found.detail) == (status, True), found
