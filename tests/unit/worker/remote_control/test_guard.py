"""The guard passes valid control messages to Celery, and answers the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker.control import Panel

from mailctl.worker.remote_control.guard import _Guard

NAME = "w@host"
REPLIES = "reply.celery.pidbox"


class Message:
    """A control message as kombu delivers it."""

    def __init__(self, payload: Any, *, headers: dict[str, Any] | None = None, body: Any = b"{}") -> None:
        self.headers, self.body, self.content_encoding = headers or {}, body, "utf-8"
        self._payload = payload

    def decode(self) -> Any:
        if isinstance(self._payload, Exception):
            raise self._payload
        return self._payload


class Worker:
    """A worker of the built-in app, with its mailbox."""

    def __init__(self, *, reply_error: Exception | None = None) -> None:
        self.executed: list[Any] = []
        self.replies: list[Any] = []
        self.resets = 0
        self._reply_error = reply_error
        self.app = Celery("mailctl", broker="memory://", set_as_current=False)
        self.add_task_queue: Any = None
        self.pool = SimpleNamespace(num_processes=2)
        mailbox = SimpleNamespace(reply_exchange=SimpleNamespace(name=REPLIES))
        node = SimpleNamespace(
            handlers=Panel.data, hostname=NAME, mailbox=mailbox, listen=None, reply=self._reply
        )
        box = SimpleNamespace(
            node=node, on_message=lambda body, _: self.executed.append(body["method"]), reset=self._reset
        )
        self.guard = _Guard(self, box)

    def _reply(self, reply: Any, **address: Any) -> None:
        if self._reply_error:
            raise self._reply_error
        self.replies.append((reply, address))

    def _reset(self) -> None:
        self.resets += 1

    def receive(self, payload: Any, **more: Any) -> None:
        self.guard._receive(Message(payload, **more))


def test_an_allowed_command_is_executed() -> None:
    """Without a word in the log."""
    worker = Worker()
    worker.receive({"method": "ping"})
    assert worker.executed == ["ping"]


def test_a_message_for_another_worker_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """It is not refused either."""
    worker = Worker()
    worker.receive({"method": "ping", "destination": ["other@host"]})
    assert (worker.executed, caplog.records) == ([], [])


def test_a_refused_command_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    """Only if the sender asked for a reply."""
    worker = Worker()
    reply_to = {"exchange": REPLIES, "routing_key": "sender"}
    worker.receive({"method": "pool_grow", "ticket": "t", "reply_to": reply_to})
    worker.receive({"method": "pool_grow"})
    [(reply, address)] = worker.replies
    assert reply[NAME]["error"].startswith("refused: a worker of mailctl does not execute it")
    assert address == {"ticket": "t", **reply_to}
    assert caplog.text.count("refused the control command pool_grow") == 2


def test_the_name_of_an_unknown_command_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Another program chose it."""
    Worker().receive({"method": "forged line"})
    assert "refused the control command (unknown)" in caplog.text
    assert "forged" not in caplog.text


def test_a_failed_reply_renews_the_channel() -> None:
    """The broker may have closed it."""
    worker = Worker(reply_error=ValueError())
    worker.receive({"method": "pool_grow", "reply_to": {"exchange": REPLIES, "routing_key": "sender"}})
    assert worker.resets == 1


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"headers": {"clock": -1}}, "clock"),
        ({"headers": {"compression": "gzip"}}, "compressed"),
        ({"body": b"x" * (2**20 + 1)}, "more than 1048576 bytes"),
        ({"body": 7}, "more than 1048576 bytes"),
    ],
)
def test_a_message_that_could_harm_the_worker_is_not_decoded(
    more: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is refused in one line."""
    Worker().receive(AssertionError("decoded"), **more)
    assert caplog.text.count("refused a control message: ") == 1
    assert reason in caplog.text


def test_an_undecodable_message_is_refused_without_a_quotation(caplog: pytest.LogCaptureFixture) -> None:
    """The error may quote it."""
    Worker().receive(ValueError("secret"))
    assert "it cannot be decoded (ValueError)" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("is_known", [True, False])
def test_a_queue_that_the_broker_refuses_is_forgotten(is_known: bool) -> None:
    """Celery would declare it again after each reconnection."""
    worker = Worker()
    queues = worker.app.amqp.queues
    if is_known:
        queues.add("extra")
        queues.deselect("extra")

    def refuse(queue: str) -> None:
        queues.select_add(queue)
        raise ValueError

    with pytest.raises(ConnectionResetError):
        worker.guard._add_queue(refuse, "extra")
    assert "extra" not in queues.consume_from
    assert ("extra" in queues) is is_known
