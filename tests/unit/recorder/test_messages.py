"""Messages as Celery's signals show them, in both versions of the protocol."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.recorder.messages import parse_time, read_message

ETA = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUEUE = SimpleNamespace(name="shop")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ((("a",), {"b": 1}, {}), {"id": "1", "eta": ETA.isoformat(), "expires": None}),
        ({"id": "1", "args": ["a"], "kwargs": {"b": 1}, "eta": "2026-03-01T12:00:00"}, {}),
    ],
)
def test_both_protocols_are_read(body: Any, headers: dict[str, Any]) -> None:
    """A time without an offset is in UTC."""
    message = read_message(body=body, headers=headers, routing_key="key", declare=[QUEUE])
    assert message is not None
    assert (message.id, list(message.args), dict(message.kwargs)) == ("1", ["a"], {"b": 1})
    assert (message.queue, message.eta, message.expires) == ("shop", ETA, None)
    assert not message.is_from_mailctl


def test_without_a_declared_queue_the_routing_key_names_it() -> None:
    """So it does where Celery's default exchange is used."""
    message = read_message(
        body=((), {}, {}), headers={"id": "1", "mailctl": "1"}, routing_key="shop", declare=None
    )
    assert message is not None
    assert (message.queue, message.is_from_mailctl) == ("shop", True)


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"bytes", {"id": "1"}), (((), {}, {}), {}), (((), {}, {}), None), ([1, 2], {"id": "1"})],
)
def test_what_is_no_task_message_is_none(body: Any, headers: Any) -> None:
    """Any program may use the signals."""
    assert read_message(body=body, headers=headers, routing_key=None, declare=None) is None


@pytest.mark.parametrize("value", [None, "soon", 5, ""])
def test_what_is_no_time_is_none(value: object) -> None:
    """It is not worth failing for."""
    assert parse_time(value) is None
