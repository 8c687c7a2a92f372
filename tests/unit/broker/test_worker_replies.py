"""Replies of workers may have any shape: what cannot be read counts as unknown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.broker.worker_replies import (
    ask_workers,
    mapping,
    number,
    queue_names,
    task_attribute,
    task_names,
)
from mailctl.errors import BrokerRefused

ODD: list[Any] = [
    None,
    1,
    "x",
    {},
    [1],
    [None],
    ["x", 7],
    [[]],
    [{}],
    [{"name": {"a": 1}}],
    True,
    10**30,
    {"error": 1},
]
CONNECTION = SimpleNamespace(
    connection_errors=(ConnectionError,),
    channel_errors=(KeyError,),
    transport=SimpleNamespace(driver_type="memory"),
)


def app(answer: Any) -> Any:
    """Return an app whose workers answer, or fail."""

    def broadcast(*_: Any, **__: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    mailbox = SimpleNamespace(exchange=SimpleNamespace(name="celery.pidbox"))
    return SimpleNamespace(control=SimpleNamespace(broadcast=broadcast, mailbox=mailbox))


@pytest.mark.parametrize("reply", ODD)
def test_odd_replies_have_no_names(reply: Any) -> None:
    """Nor do they raise an error."""
    assert queue_names(reply) == ()
    assert task_names(reply) <= {"x"}
    assert mapping(reply) == (reply if isinstance(reply, dict) else {})
    assert number(reply) == (1 if reply == 1 and reply is not True else None)


def test_names_are_those_of_queues_and_tasks() -> None:
    """Tasks without their attributes; long names are cut."""
    assert queue_names([{"name": "celery"}, {"name": "x" * 1000}]) == ("celery", "x" * 255)
    assert task_names(["ship [rate_limit=1/s]", "pack"]) == {"ship", "pack"}
    assert [number(value) for value in (0, 7, -1, 1.5, "7")] == [0, 7, None, None, None]


def test_an_attribute_of_a_task_is_what_stands_in_its_brackets() -> None:
    """As Celery writes it; a worker without it has none."""
    reply = ["pack", "ship [mailctl_keys=a,b]", 7]
    assert task_attribute(reply, "ship", "mailctl_keys") == "a,b"
    assert [task_attribute(each, "pack", "mailctl_keys") for each in (reply, None, ["pack [x=1]"])] == [
        ""
    ] * 3


def test_replies_that_are_no_objects_are_left_out() -> None:
    """The others are found by the name of their worker."""
    replies = [{"a@host": 1}, [1], None, "x", {7: 1}, {"b@host": None}]
    assert ask_workers(app(replies), "ping", CONNECTION, timeout=1) == {"a@host": 1, "b@host": None}
    assert ask_workers(app(None), "ping", CONNECTION, timeout=1) == {}


def test_an_undecodable_reply_is_told() -> None:
    """Without its text; errors of the driver stay what they are."""
    with pytest.raises(BrokerRefused, match=r"cannot be read \(TypeError\)") as raised:
        ask_workers(app(TypeError("secret")), "ping", CONNECTION, timeout=1)
    assert "secret" not in str(raised.value)
    with pytest.raises(ConnectionError):
        ask_workers(app(ConnectionError()), "ping", CONNECTION, timeout=1)
