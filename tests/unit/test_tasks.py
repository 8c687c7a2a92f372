"""The Celery tasks: what other programs rely on, and what becomes of their messages."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from mailctl import tasks
from mailctl.domain.catalog import WELCOME
from mailctl.domain.models import State
from mailctl.errors import EmailFailed, InvalidInput
from mailctl.tasks import EmailDeferred
from mailctl.worker import message_validation
from mailctl.worker.outcomes import DeliveryResult

EMAIL_ID = "5f0c7a52-6a8c-4c5e-9a57-6a1d0f4f0e11"
#: The contract with other programs: names and arguments in their order.
WIRE = {
    "send_email_task": ("subject", "recipients", "template_name", "context"),
    "send_welcome_email_task": ("user_data",),
    "send_password_reset_email_task": ("user_data", "reset_url"),
    "send_verification_email_task": ("user_data", "verification_url"),
    "send_new_ip_notification_task": ("user_data", "ip_address", "whitelist_url", "blacklist_url"),
}


def task(run: Any = lambda user_data=None: None, **request: Any) -> Any:
    """Return what a task knows of itself and of its message."""
    return SimpleNamespace(name="send_welcome_email_task", run=run, request=SimpleNamespace(**request))


@pytest.mark.parametrize(("name", "arguments"), WIRE.items())
def test_names_and_arguments_of_the_wire_are_fixed(name: str, arguments: tuple[str, ...]) -> None:
    """Other programs publish such messages; `email_id` alone goes by keyword."""
    found = getattr(tasks, name)
    parameters = inspect.signature(found.run).parameters
    assert found.name == name
    assert tuple(parameters) == (*arguments, "email_id")
    assert parameters["email_id"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("name", tasks.__all__)
def test_messages_of_emails_survive_their_process(name: str) -> None:
    """The broker delivers them again; a canary is not worth it."""
    found = getattr(tasks, name)
    if name in ("EmailDeferred", "canary"):
        return
    assert (found.acks_late, found.reject_on_worker_lost, found.ignore_result) == (True, True, True)


class TestRejection:
    """Messages whose arguments no task can take."""

    def test_arguments_that_fit_are_accepted(self) -> None:
        """Whatever is in them."""
        assert tasks._rejection_reason(task(), (), {"user_data": 42}) == ""

    def test_other_arguments_are_named(self) -> None:
        """With those that the task takes, but not the reference of mailctl's own messages."""

        def run(user_data: object = None, *, email_id: object = None) -> None: ...

        reason = tasks._rejection_reason(task(run), (), {"user": 42})
        assert "unexpected keyword argument 'user'" in reason
        assert reason.endswith("send_welcome_email_task takes user_data.")

    def test_a_reason_of_the_consumer_comes_first(self) -> None:
        """It has read the envelope."""
        refused = task(**{message_validation.REFUSAL_HEADER: "its eta is no time."})
        assert tasks._rejection_reason(refused, (), {"user": 42}) == "message: its eta is no time."


class TestTimesOfAMessage:
    """They come in headers that the consumer has validated."""

    def test_they_are_part_of_the_request(self) -> None:
        """The log keeps them, not the broker."""
        not_before, expires_at = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
        headers = {
            message_validation.NOT_BEFORE_HEADER: not_before.isoformat(),
            message_validation.EXPIRES_HEADER: expires_at.isoformat(),
        }
        request = tasks._email_request(task(**headers), WELCOME)
        assert (request.kind, request.not_before, request.expires_at) == (WELCOME, not_before, expires_at)

    def test_a_message_without_times_is_sent_at_once(self) -> None:
        """As most are."""
        request = tasks._email_request(task(), WELCOME)
        assert (request.not_before, request.expires_at) == (None, None)


class TestTheCeleryResult:
    """For programs that ask Celery about an email."""

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
        """What may still be sent is retried."""
        assert tasks._celery_result(DeliveryResult(email_id=EMAIL_ID, state=state))[0] == expected

    def test_a_success_names_the_email(self) -> None:
        """And where it went."""
        report = DeliveryResult(email_id=EMAIL_ID, state=State.CAPTURED)
        assert tasks._celery_result(report)[1] == {"email_id": EMAIL_ID, "state": "captured"}

    @pytest.mark.parametrize(("state", "error"), [(State.HELD, EmailDeferred), (State.FAILED, EmailFailed)])
    def test_anything_else_says_why(self, state: State, error: type[Exception]) -> None:
        """As an exception, which Celery stores."""
        report = DeliveryResult(email_id=EMAIL_ID, state=state, text="550 no such user")
        result = tasks._celery_result(report)[1]
        assert isinstance(result, error)
        assert str(result) == "550 no such user"


class Backend:
    """A result backend that is down, or keeps what it gets."""

    def __init__(self, *, is_down: bool = False) -> None:
        self.is_down = is_down
        self.stored: list[tuple[str, object, str]] = []

    def store_result(self, task_id: str, result: object, state: str) -> None:
        """Store, or fail."""
        if self.is_down:
            raise ConnectionError("gone")
        self.stored.append((task_id, result, state))


class TestTheEndOfATask:
    """What Celery, and the log of the worker, get to see."""

    def finish(self, backend: Backend, report: DeliveryResult) -> str:
        """End a task whose app has this result backend."""
        ended: Any = SimpleNamespace(app=SimpleNamespace(backend=backend))
        return tasks._finish(ended, report)

    def test_the_result_is_stored_under_the_id_of_the_email(self) -> None:
        """Whichever message carried it."""
        backend = Backend()
        assert self.finish(backend, DeliveryResult(email_id=EMAIL_ID, state=State.SENT)) == "sent"
        assert [(task_id, state) for task_id, _, state in backend.stored] == [(EMAIL_ID, "SUCCESS")]

    @pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED])
    def test_an_email_that_failed_fails_its_task(self, state: State) -> None:
        """So monitoring of Celery sees it."""
        with pytest.raises(EmailFailed, match="no such user"):
            self.finish(Backend(), DeliveryResult(email_id=EMAIL_ID, state=state, text="no such user"))

    def test_a_message_with_nothing_to_do_stores_nothing(self) -> None:
        """Another worker has the email."""
        backend = Backend()
        report = DeliveryResult(email_id=EMAIL_ID, state=None, text="nothing to do")
        assert self.finish(backend, report) == "nothing to do"
        assert backend.stored == []

    def test_a_result_backend_that_is_down_changes_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        """The delivery log has the outcome."""
        report = DeliveryResult(email_id=EMAIL_ID, state=State.SENT)
        assert self.finish(Backend(is_down=True), report) == "sent"
        assert "ConnectionError" in caplog.text


@pytest.mark.parametrize("ids", [None, "abc", {}, 7])
def test_a_batch_takes_a_list_of_ids(ids: object) -> None:
    """Anything else is no message of mailctl's."""
    with pytest.raises(InvalidInput, match="ids"):
        tasks.deliver_batch.run(ids)
