"""Copies are confirmed one by one, and a broken connection is opened again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import amqp
import pytest
from amqp.exceptions import MessageNacked

from mailctl.worker.foreign_messages.copier import MessageCopier
from mailctl.worker.foreign_messages.message import ForeignMessage


class Confirms:
    """Confirms with an error for each message."""

    def __init__(self, errors: list[Exception | None]) -> None:
        self.errors = errors
        self.published: list[Any] = []

    def publish(self, messages: Any, _queue: str) -> list[Exception | None]:
        self.published += messages
        return self.errors


class Connection:
    """A connection that counts how often it is released."""

    def __init__(self) -> None:
        self.released = 0

    def release(self) -> None:
        self.released += 1
        raise OSError


def foreign(raw: Any) -> ForeignMessage:
    return ForeignMessage(message=None, raw=raw, queue="celery", task="t", digest="d", size=0)


def copier(errors: list[Exception | None]) -> tuple[MessageCopier, Connection, Confirms]:
    """Return a copier with an open connection."""
    made, connection, confirms = MessageCopier(SimpleNamespace()), Connection(), Confirms(errors)  # type: ignore[arg-type]
    made._connection, made._confirms = connection, confirms  # type: ignore[assignment]
    return made, connection, confirms


def test_each_message_has_its_confirmation() -> None:
    """One that the driver cannot serialize is not published."""
    good, bad = amqp.Message(b"a"), amqp.Message(b"b", priority="high")
    made, _, confirms = copier([None, MessageNacked()])
    errors = made.copy_all([foreign(good), foreign(bad), foreign(good)], "celery")
    assert errors[0] is None
    assert errors[1] is not None
    assert not isinstance(errors[1], MessageNacked)
    assert isinstance(errors[2], MessageNacked)
    assert [message.body for message in confirms.published] == [b"a", b"a"]


@pytest.mark.parametrize(("error", "released"), [(None, 0), (MessageNacked(), 0), (OSError(), 1)])
def test_an_error_of_the_connection_closes_it(error: Exception | None, released: int) -> None:
    """A rejected message does not; an error while it closes is ignored."""
    made, connection, _ = copier([error])
    made.copy_all([foreign(amqp.Message(b""))], "celery")
    assert connection.released == released
    made.close()
    assert connection.released == 1
