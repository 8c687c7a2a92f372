"""A received message reaches Celery only if it is valid."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from mailctl.worker.consumer_activity import ConsumerActivity
from mailctl.worker.message_strategy import MessageReceiver, mailctl_task_names
from mailctl.worker.message_validation import REFUSAL_HEADER
from mailctl.worker.private_request import PrivateTask

#: Not the name of a task of mailctl, which is there as well where `mailctl.tasks` is imported.
TASK = "an_email_task"


def send(*_: object, **__: object) -> None:
    """Do nothing."""


class Message:
    """A message as kombu delivers it."""

    def __init__(self, *, body: Any = None, tag: str = "None1", **headers: Any) -> None:
        self.headers, self.properties = headers, {"correlation_id": "an-id"}
        self.body = json.dumps([[], {}, {}]) if body is None else body
        self.content_type, self.content_encoding = "application/json", "utf-8"
        self.delivery_tag = "a-tag"
        self.delivery_info = {"consumer_tag": tag, "routing_key": "somewhere", "exchange": "topics"}
        self.channel = SimpleNamespace()
        self.acknowledged = False
        self.rejected = 0

    def reject_log_error(self, _log: object, _errors: object) -> None:
        self.rejected += 1


class Worker:
    """A receiver of a worker, with what it passes on."""

    def __init__(self, *, is_built_in: bool = True) -> None:
        app = Celery("received", broker="memory://", set_as_current=False)
        app.task(base=PrivateTask, name=TASK, shared=False)(send)
        app.task(name="shop.pay", shared=False)(send)
        self.handled: list[Any] = []
        self.unknown: list[tuple[str, Any]] = []
        consumer = SimpleNamespace(
            app=app,
            task_consumer=SimpleNamespace(_active_tags={"celery": "None1"}),
            on_unknown_message=lambda _, message: self.unknown.append(("message", message)),
            on_unknown_task=lambda _, message, error: self.unknown.append((error.args[0], message)),
        )
        self.consumer = consumer
        self.receiver = MessageReceiver(
            consumer,
            self.handled.append,
            is_built_in=is_built_in,
            errors=(ConnectionError,),
            activity=ConsumerActivity(),
        )


def test_a_valid_message_is_passed_on_with_its_delivery_tag() -> None:
    """Its routing key becomes its queue, to which it would return."""
    worker = Worker()
    worker.receiver.receive(Message(task=TASK, id="an-id", x_secret=["removed"]))
    [handled] = worker.handled
    assert (handled.delivery_tag, handled.headers["id"]) == ("a-tag", "an-id")
    assert (handled.delivery_info["exchange"], handled.delivery_info["routing_key"]) == ("", "celery")
    assert "x_secret" not in handled.headers


def test_an_invalid_message_is_replaced_by_a_refusal() -> None:
    """Its task records it as a failed email."""
    worker = Worker()
    worker.receiver.receive(Message(task=TASK, id="an-id", timelimit=[10**400, None]))
    [handled] = worker.handled
    assert json.loads(handled.body) == [[], {}, {}]
    assert handled.headers["id"] == "an-id"
    assert "number" in handled.headers[REFUSAL_HEADER]


@pytest.mark.parametrize(
    ("message", "unknown"),
    [
        (Message(task="shop.ship", id="1"), "shop.ship"),
        (Message(task="shop.ship"), "message"),
        (Message(x=1), "message"),
        (Message(body="not json"), "message"),
    ],
)
def test_a_message_without_a_task_in_the_app_is_passed_on_as_unknown(message: Message, unknown: str) -> None:
    """The worker may hold it for another app."""
    worker = Worker()
    worker.receiver.receive(message)
    assert worker.unknown == [(unknown, message)]
    assert worker.handled == []


def test_a_task_of_a_service_runs_only_in_its_app() -> None:
    """In the built-in app it is unknown."""
    message = Message(task="shop.pay", id="1", shadow="a\nname")
    service, built_in = Worker(is_built_in=False), Worker()
    built_in.receiver.receive(message)
    assert [name for name, _ in built_in.unknown] == ["shop.pay"]
    service.receiver.receive(message)
    assert service.handled == [message]
    assert "shadow" not in message.headers


def test_a_harmful_message_for_a_service_is_rejected(caplog: pytest.LogCaptureFixture) -> None:
    """The log names its task, without control characters."""
    worker = Worker(is_built_in=False)
    message = Message(task="shop.pay", id=None)
    worker.receiver.receive(message)
    assert (worker.handled, message.rejected) == ([], 1)
    assert "rejected a message for task shop.pay: its id" in caplog.text


def test_nothing_in_a_message_ends_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    """An error in the receiver makes the message unknown; if that fails as well, it is rejected."""
    worker = Worker()
    message = Message(task=TASK, id="1")
    message.body = 7  # type: ignore[assignment]
    worker.receiver.receive_undecodable(message, ValueError("secret"))
    assert [name for name, _ in worker.unknown] == ["message"]
    worker.consumer.on_unknown_message = lambda *_: 1 / 0
    worker.receiver.receive(message)
    assert message.rejected == 1
    assert "secret" not in caplog.text


def test_a_lost_connection_passes_through() -> None:
    """Celery connects again."""
    worker = Worker()

    def lose(*_: object) -> None:
        raise ConnectionError

    worker.consumer.on_unknown_message = lose
    with pytest.raises(ConnectionError):
        worker.receiver.receive(Message(x=1))


def test_a_task_that_a_service_overrides_is_not_one_of_mailctl() -> None:
    """It receives its messages unchanged."""
    app = Celery("overriding", broker="memory://", set_as_current=False)
    app.task(name=TASK, shared=False)(send)
    assert TASK not in mailctl_task_names(app)
    assert TASK in mailctl_task_names(Worker().consumer.app)
