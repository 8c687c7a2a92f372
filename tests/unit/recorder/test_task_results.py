"""Results of the service's own tasks: read from a real result backend, and recorded in the delivery log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, states

from mailctl import runtime
from mailctl.broker.inspector import BrokerInspector
from mailctl.broker.task_arguments import REFERENCE_ARGUMENT
from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import Content, User
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.recorder import task_results
from mailctl.recorder.task_results import OwnTaskResults, record_results
from mailctl.settings import Settings
from tests.emails import NOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailctl.domain.models import Email
    from mailctl.runtime import Runtime

#: Nobody listens there, and nothing asks the broker.
BROKER = "redis://127.0.0.1:1/0"


@pytest.fixture
def open_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Runtime]:
    """Opens the parts of a service whose app stores results in a folder."""
    (tmp_path / "results").mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def open_with(**values: Any) -> Runtime:
        backend = values.pop("backend", f"file://{tmp_path}/results")
        app = Celery("shop", broker=BROKER, backend=backend, set_as_current=False)
        settings = Settings(**({"mailctl_home": tmp_path, "celery_broker_url": BROKER} | values))
        runtime.configure(settings, app=app)
        return runtime.current()

    return open_with


def publish(parts: Runtime, *ids: str, is_own_task: bool = True) -> None:
    """Record emails whose messages are on the broker."""
    for each in ids:
        content = Content(user=User(email="zoe@example.com"))
        drafts = make_drafts(EmailRequest(kind=WELCOME), [content], queue="celery", now=NOW, first_id=each)
        parts.outbox.add(drafts, due_at=NOW)
        parts.publications.mark_queued([each], is_own_task=is_own_task)


def email(parts: Runtime, email_id: str = "m1") -> Email:
    """Return an email as it is now."""
    [found] = parts.history.emails([email_id])
    return found


def record(parts: Runtime) -> bool:
    """Record what the stored result of `m1` tells; return whether that ended the email."""
    results = OwnTaskResults(parts, broker=BrokerInspector(parts.app))
    return results.record(email(parts), results.read("m1"), log=parts.own_task_emails)


def test_a_result_ends_the_email(open_parts: Callable[..., Runtime]) -> None:
    """By what it tells; a second reading changes nothing."""
    parts = open_parts()
    publish(parts, "m1")
    parts.app.backend.store_result("m1", False, states.SUCCESS)
    assert [record(parts), record(parts)] == [True, False]
    assert email(parts).state is State.FAILED


def test_without_a_result_nothing_is_known(open_parts: Callable[..., Runtime]) -> None:
    """It may have expired, or the task has not run."""
    parts = open_parts()
    publish(parts, "m1")
    assert not record(parts)
    assert email(parts).state is State.QUEUED


def test_a_result_of_mailctls_own_task_is_left_alone(open_parts: Callable[..., Runtime]) -> None:
    """That task has written to the delivery log itself."""
    parts = open_parts()
    publish(parts, "m1")
    parts.app.backend.store_result("m1", {REFERENCE_ARGUMENT: "m1"}, states.SUCCESS)
    assert not record(parts)


def write_translator(folder: Path, body: str) -> str:
    """Write a module with a translator; return what MAILCTL_RESULT_OUTCOME names."""
    name = f"shop_outcomes_{abs(hash(body))}"
    (folder / f"{name}.py").write_text(f"def outcome(task, value):\n    {body}\n")
    return f"{name}:outcome"


def test_the_translator_gets_the_name_of_the_task(open_parts: Callable[..., Runtime], tmp_path: Path) -> None:
    """And the value that the task returned."""
    body = "return 'sent' if (task, value) == ('send_welcome_email_task', '250 ok') else 'failed'"
    parts = open_parts(mailctl_result_outcome=write_translator(tmp_path, body))
    publish(parts, "m1")
    parts.app.backend.store_result("m1", "250 ok", states.SUCCESS)
    assert record(parts)
    assert email(parts).state is State.SENT


@pytest.mark.parametrize(
    ("spec", "problem"),
    [(None, "raised ZeroDivisionError"), ("nowhere:outcome", "raised ConfigurationError")],
)
def test_a_translator_that_fails_is_logged(
    spec: str | None,
    problem: str,
    open_parts: Callable[..., Runtime],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The email is unconfirmed then: what the result means is not known."""
    parts = open_parts(mailctl_result_outcome=spec or write_translator(tmp_path, "return 1 / 0"))
    publish(parts, "m1")
    parts.app.backend.store_result("m1", False, states.SUCCESS)
    assert record(parts)
    assert email(parts).state is State.UNCONFIRMED
    assert problem in caplog.text


def test_a_command_records_every_result_that_it_can_read(open_parts: Callable[..., Runtime]) -> None:
    """Of emails that the service's own tasks send; mailctl's tasks record theirs."""
    parts = open_parts()
    publish(parts, "m1", "m2")
    publish(parts, "m3", is_own_task=False)
    for each in ("m1", "m2", "m3"):
        parts.app.backend.store_result(each, False, states.SUCCESS)
    record_results(parts)
    assert [email(parts, each).state for each in ("m1", "m2", "m3")] == [
        State.FAILED,
        State.FAILED,
        State.QUEUED,
    ]


def test_a_command_reads_results_for_a_moment(
    open_parts: Callable[..., Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend may be slow; the next command reads on."""
    monkeypatch.setattr(task_results, "_MAX_SECONDS", -1.0)
    parts = open_parts()
    publish(parts, "m1")
    parts.app.backend.store_result("m1", False, states.SUCCESS)
    record_results(parts)
    assert email(parts).state is State.QUEUED


@pytest.mark.parametrize("values", [{"backend": "redis://127.0.0.1:1/0"}, {"celery_broker_url": "memory://"}])
def test_results_that_cannot_be_read_change_nothing(
    values: dict[str, str], open_parts: Callable[..., Runtime]
) -> None:
    """The backend is down, or the results are in the memory of another process."""
    parts = open_parts(**values)
    publish(parts, "m1")
    if "backend" not in values:
        parts.app.backend.store_result("m1", False, states.SUCCESS)
    record_results(parts)
    assert email(parts).state is State.QUEUED
