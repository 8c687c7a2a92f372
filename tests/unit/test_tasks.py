"""The Celery tasks: their signatures, and how messages and results are handled."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections import defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.app.trace import build_tracer
from celery.app.trace import logger as trace_logger
from celery.signals import celeryd_init

from mailctl import tasks
from mailctl.broker.messages import BATCH_TASK
from mailctl.domain.catalog import DELIVER_TASK
from mailctl.domain.states import State
from mailctl.errors import EmailFailed, InvalidInput
from mailctl.tasks import EmailDeferred
from mailctl.worker import message_validation
from mailctl.worker.outcome_recorder import DeliveryResult
from mailctl.worker.requeue import is_not_of_requeued

if TYPE_CHECKING:
    from pathlib import Path

EMAIL_ID = "5f0c7a52-6a8c-4c5e-9a57-6a1d0f4f0e11"
#: The contract with other programs: names and arguments in their order.
WIRE = {
    "send_email_task": ("subject", "recipients", "template_name", "context"),
    "send_welcome_email_task": ("user_data",),
    "send_password_reset_email_task": ("user_data", "reset_url"),
    "send_verification_email_task": ("user_data", "verification_url"),
    "send_new_ip_notification_task": ("user_data", "ip_address", "whitelist_url", "blacklist_url"),
}


@pytest.fixture(scope="module")
def app() -> Celery:
    """A Celery app that has mailctl's tasks and no others."""
    app = Celery("fresh", broker="memory://", set_as_current=False)
    app.finalize()
    return app


def task(run: Any = lambda user_data=None: None, **request: Any) -> Any:
    """Return a stand-in for a task with a message."""
    return SimpleNamespace(name="send_welcome_email_task", run=run, request=SimpleNamespace(**request))


@pytest.mark.parametrize(("name", "arguments"), WIRE.items())
def test_names_and_arguments_of_the_wire_are_fixed(
    app: Celery, name: str, arguments: tuple[str, ...]
) -> None:
    """Other programs publish messages with these arguments; `email_id` is keyword-only."""
    found = app.tasks[name]
    parameters = inspect.signature(found.run).parameters
    assert found.name == name
    assert tuple(parameters) == (*arguments, "email_id")
    assert parameters["email_id"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("name", [*WIRE, DELIVER_TASK, BATCH_TASK])
def test_messages_of_emails_survive_their_process(app: Celery, name: str) -> None:
    """The broker delivers the message of an email again if its process is killed."""
    found = app.tasks[name]
    assert (found.acks_late, found.reject_on_worker_lost, found.ignore_result) == (True, True, True)


class TestRejection:
    """Messages with unusable arguments are rejected."""

    def test_arguments_that_fit_are_accepted(self) -> None:
        """Only the signature counts here, not the values."""
        assert tasks._rejection_reason(task(), (), {"user_data": 42}) == ""

    def test_other_arguments_are_named(self) -> None:
        """The reason names the wrong argument and the arguments that other programs may give."""

        def run(user_data: object = None, *, email_id: object = None) -> None: ...

        reason = tasks._rejection_reason(task(run), (), {"user": 42})
        assert "unexpected keyword argument 'user'" in reason
        assert reason.endswith("send_welcome_email_task takes user_data.")

    def test_a_reason_of_the_consumer_comes_first(self) -> None:
        """A refusal of the consumer has priority over the arguments."""
        refused = task(**{message_validation.REFUSAL_HEADER: "its eta is no time."})
        assert tasks._rejection_reason(refused, (), {"user": 42}) == "message: its eta is no time."


class TestTheCeleryResult:
    """Programs can ask Celery for the result of an email."""

    @pytest.mark.parametrize(
        ("state", "expected"),
        [
            (State.SENT, "SUCCESS"),
            (State.CAPTURED, "SUCCESS"),
            (State.DEFERRED, "RETRY"),
            (State.HELD, "RETRY"),
            (State.PENDING, "RETRY"),
            (State.FAILED, "FAILURE"),
            (State.EXPIRED, "FAILURE"),
            (State.SUPPRESSED, "FAILURE"),
        ],
    )
    def test_it_follows_from_the_state(self, state: State, expected: str) -> None:
        """Emails that may still be sent have the Celery state RETRY."""
        assert tasks._celery_result(DeliveryResult(email_id=EMAIL_ID, state=state))[0] == expected

    def test_a_success_names_the_email(self) -> None:
        """The result of a success has the id and the state."""
        report = DeliveryResult(email_id=EMAIL_ID, state=State.CAPTURED)
        assert tasks._celery_result(report)[1] == {"email_id": EMAIL_ID, "state": "captured"}

    @pytest.mark.parametrize(("state", "error"), [(State.HELD, EmailDeferred), (State.FAILED, EmailFailed)])
    def test_anything_else_says_why(self, state: State, error: type[Exception]) -> None:
        """Other results are exceptions with the reason."""
        report = DeliveryResult(email_id=EMAIL_ID, state=state, text="550 no such user")
        result = tasks._celery_result(report)[1]
        assert isinstance(result, error)
        assert str(result) == "550 no such user"


class Backend:
    """A result backend that keeps results or is down."""

    def __init__(self, *, is_down: bool = False) -> None:
        self.is_down = is_down
        self.stored: list[tuple[str, object, str]] = []

    def store_result(self, task_id: str, result: object, state: str) -> None:
        """Keep the result, or raise if the backend is down."""
        if self.is_down:
            raise ConnectionError("gone")
        self.stored.append((task_id, result, state))


class TestTheEndOfATask:
    """A task ends with a stored result and a return value or an error."""

    def finish(self, backend: Backend, report: DeliveryResult) -> str:
        """End a task whose app has this result backend."""
        ended: Any = SimpleNamespace(app=SimpleNamespace(backend=backend), request=SimpleNamespace())
        return tasks._finish(ended, report)

    def test_the_result_is_stored_under_the_id_of_the_email(self) -> None:
        """The task id of the message does not matter."""
        backend = Backend()
        assert self.finish(backend, DeliveryResult(email_id=EMAIL_ID, state=State.SENT)) == "sent"
        assert [(task_id, state) for task_id, _, state in backend.stored] == [(EMAIL_ID, "SUCCESS")]

    def test_celery_does_not_replace_the_result_by_a_success(self) -> None:
        """Not even where the message asks for a result, as those with the whole email do."""
        app = Celery("traced", broker="memory://", backend="cache+memory://", set_as_current=False)

        @app.task(bind=True, ignore_result=True)
        def send(self: Any) -> str:
            return tasks._finish(self, DeliveryResult(email_id=EMAIL_ID, state=State.DEFERRED, text="later"))

        trace = build_tracer(send.name, send, app=app)
        trace(EMAIL_ID, (), {}, {"id": EMAIL_ID, "ignore_result": False})
        assert app.AsyncResult(EMAIL_ID).state == "RETRY"

    @pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED])
    def test_an_email_that_failed_fails_its_task(self, state: State) -> None:
        """Celery records a failed task for a failed email."""
        with pytest.raises(EmailFailed, match="no such user"):
            self.finish(Backend(), DeliveryResult(email_id=EMAIL_ID, state=state, text="no such user"))

    def test_a_message_with_nothing_to_do_stores_nothing(self) -> None:
        """A task that did nothing leaves the result to the worker that has the email."""
        backend = Backend()
        report = DeliveryResult(email_id=EMAIL_ID, state=None, text="nothing to do")
        assert self.finish(backend, report) == "nothing to do"
        assert backend.stored == []

    def test_a_result_backend_that_is_down_changes_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        """A failing result backend is logged and does not fail the task."""
        report = DeliveryResult(email_id=EMAIL_ID, state=State.SENT)
        assert self.finish(Backend(is_down=True), report) == "sent"
        assert "ConnectionError" in caplog.text


@pytest.mark.parametrize("ids", [None, "abc", {}, 7])
def test_a_batch_takes_a_list_of_ids(ids: object) -> None:
    """A batch without a list of ids is refused."""
    with pytest.raises(InvalidInput, match="ids"):
        tasks.deliver_batch.run(ids)


def test_a_worker_logs_a_returned_message_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's own logger of tasks gets the filter."""
    monkeypatch.setattr(trace_logger, "filters", [])
    instance = SimpleNamespace(app=SimpleNamespace(steps=defaultdict(set)))
    celeryd_init.send(sender="celery@here", instance=instance)
    assert is_not_of_requeued in trace_logger.filters


def run_python(script: str, folder: Path) -> str:
    """Return what a new interpreter prints, where no test has imported anything."""
    environment = {**os.environ, "MAILCTL_HOME": str(folder), "DEBUG": "true"}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout.strip()


def test_processes_of_the_pool_share_what_sends_emails(tmp_path: Path) -> None:
    """Every worker that has the tasks, Celery's own, too, imports it before they fork."""
    script = """
import sys
from types import SimpleNamespace
from celery import Celery
from celery.signals import celeryd_init
from mailctl import tasks

celeryd_init.send(sender="celery@here", instance=SimpleNamespace(app=Celery()))
known = {*sys.modules}
from mailctl.worker.process_state import ProcessState

ProcessState().close()
heavy = ("fastapi_mail", "jinja2", "cryptography", "mailctl.smtp", "mailctl.worker")
print(sorted(name for name in {*sys.modules} - known if name.startswith(heavy)))
"""
    assert run_python(script, tmp_path) == "[]"


def test_a_service_imports_nothing_that_only_workers_need(tmp_path: Path) -> None:
    """It has the tasks in order to publish them."""
    script = """
import sys
from mailctl import tasks

heavy = ("fastapi_mail", "jinja2", "sqlalchemy", "mailctl.runtime", "mailctl.smtp", "mailctl.worker.relay")
print(sorted(name for name in sys.modules if name.startswith(heavy)))
"""
    assert run_python(script, tmp_path) == "[]"
