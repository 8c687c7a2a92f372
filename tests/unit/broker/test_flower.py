"""Flower sees no arguments of email tasks."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from mailctl.broker.flower import PrivateReceiver, _join_option_values, _redact_arguments, run_flower
from mailctl.errors import ConfigurationError, InvalidInput

EMAIL_TASK = "send_welcome_email_task"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], []),
        (["--port=5566"], ["--port=5566"]),
        (["--port", "5566", "--debug"], ["--port=5566", "--debug"]),
        (["--port=1", "2"], ["--port=1", "2"]),
    ],
)
def test_an_option_is_joined_with_its_value(arguments: list[str], expected: list[str]) -> None:
    """Flower accepts no other form."""
    assert _join_option_values(arguments) == expected


@pytest.mark.parametrize("arguments", [["--port=99999"], ["--port", "65536"], ["--port=1", "--port=70000"]])
def test_a_port_that_does_not_exist_is_refused(arguments: list[str]) -> None:
    """Flower would listen on another one, without a word."""
    app = Celery("watched", broker="redis://localhost:1", set_as_current=False)
    with pytest.raises(InvalidInput, match=r"--port must be a number from 0 to 65535\."):
        run_flower(app, arguments)


def test_the_port_of_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower reads it."""
    monkeypatch.setenv("FLOWER_PORT", "99999")
    app = Celery("watched", broker="redis://localhost:1", set_as_current=False)
    with pytest.raises(InvalidInput, match="FLOWER_PORT"):
        run_flower(app, [])


def test_a_reply_of_a_worker_is_redacted_at_any_depth() -> None:
    """Only email tasks are."""
    reply = {"a@host": [{"name": EMAIL_TASK, "args": ["x"], "id": "1"}, {"name": "shop.pay", "args": ["x"]}]}
    assert _redact_arguments(reply) == {
        "a@host": [
            {"name": EMAIL_TASK, "args": "(redacted)", "id": "1"},
            {"name": "shop.pay", "args": ["x"]},
        ]
    }


def events(*bodies: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a receiver makes of events."""
    app = Celery("watched", broker="memory://", set_as_current=False)
    with app.connection_for_read() as connection:
        receiver = PrivateReceiver(connection, app=app)
        return [receiver.event_from_message({"clock": 1, **body})[1] for body in bodies]


def test_events_of_email_tasks_are_redacted() -> None:
    """Later events of the same task as well, although they do not name it."""
    first, later = events(
        {"type": "task-received", "uuid": "1", "name": EMAIL_TASK, "args": "x", "kwargs": "{}"},
        {"type": "task-failed", "uuid": "1", "exception": "x"},
    )
    assert (first["args"], first["kwargs"], later["exception"]) == ("(redacted)", "(redacted)", "(redacted)")


def test_events_of_other_tasks_are_not_redacted() -> None:
    """Once the first event has named the task."""
    first, later = events(
        {"type": "task-received", "uuid": "2", "name": "shop.pay", "args": "x"},
        {"type": "task-failed", "uuid": "2", "exception": "y"},
    )
    assert (first["args"], later["exception"]) == ("x", "y")


@pytest.mark.parametrize(
    "body",
    [
        {},
        [{}],
        "text",
        None,
        7,
        {"type": ["task-received"], "uuid": ["1"], "clock": 1},
        {"type": "task-received", "uuid": ["1"], "clock": 1},
        {"type": "task-received", "uuid": "1", "clock": "x"},
        {"type": "task-received", "uuid": "1", "clock": 1, "utcoffset": "x", "timestamp": "soon"},
    ],
)
def test_what_no_worker_has_sent_is_dropped(body: Any) -> None:
    """The events beside it and after it are still seen, on the same connection."""
    seen: list[str] = []
    app = Celery("watched", broker="memory://", set_as_current=False)
    event = {"type": "task-received", "uuid": "good", "name": "shop.pay", "clock": 1}
    with app.connection_for_read() as connection:
        handlers = {"*": lambda event: seen.append(event["uuid"])}
        receiver = PrivateReceiver(connection, app=app, handlers=handlers)
        for message in (body, [body, dict(event)], dict(event)):
            receiver._receive(message, None)
    assert seen == ["good", "good"]


def test_flower_has_nothing_to_see_on_a_broker_in_memory() -> None:
    """Its process has a memory of its own."""
    app = Celery("watched", broker="memory://", set_as_current=False)
    with pytest.raises(ConfigurationError):
        run_flower(app, [])
