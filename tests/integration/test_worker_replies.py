"""Commands that ask workers, on a broker where a program answers with whatever it likes."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from kombu import Connection, Consumer, Exchange, Producer, Queue

from mailctl.broker.worker_replies import ask_workers
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.commands import Mailctl

#: Longer than any test may take: only replies end such a wait.
FOR_EVER = 3600.0
KEY = "an-integration-test-secret-key-of-some-length"
REPLIES: dict[str, Any] = {
    "nothing": {"rogue@host": None},
    "text": {"rogue@host": "x"},
    "number": {"rogue@host": 10**30},
    "error": {"rogue@host": {"error": "\x1b]52;c;eA==\x07"}},
    "queues without names": {"rogue@host": [None, 1, {}, {"name": None}]},
    "no object": ["rogue@host"],
    "pool": {"rogue@host": {"pool": "x", "pid": [1], "uptime": "soon"}},
}


@contextmanager
def rogue_worker(url: str, reply: Any, **headers: Any) -> Iterator[list[str]]:
    """Answer every control command with the same reply, and yield the list of these commands."""
    is_ready, has_stopped = threading.Event(), threading.Event()
    exchange = Exchange("celery.pidbox", type="fanout", durable=False)
    queue = Queue("rogue.celery.pidbox", exchange, durable=False, auto_delete=True)
    answered: list[str] = []

    def serve() -> None:
        with Connection(url) as connection:
            producer = Producer(connection.channel())

            def answer(body: Any, _: Any) -> None:
                if address := body.get("reply_to"):
                    own = {"ticket": body["ticket"], **headers}
                    answered.append(body["method"])  # before whoever asks can go on
                    producer.publish(reply, **address, headers=own, serializer="json")

            with Consumer(connection.channel(), [queue], callbacks=[answer], no_ack=True, accept=["json"]):
                while not has_stopped.is_set():
                    try:
                        connection.drain_events(timeout=0.1)
                    except TimeoutError:  # by now it is subscribed
                        is_ready.set()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert is_ready.wait(60)
        yield answered
    finally:
        has_stopped.set()
        thread.join()


@pytest.fixture(params=["redis_url", "rabbit_url"])
def broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty broker in production: Redis, RabbitMQ."""
    url = str(request.getfixturevalue(request.param))
    monkeypatch.setenv("DEBUG", "False")
    monkeypatch.setenv("SECRET_KEY", KEY)
    monkeypatch.setenv("CELERY_BROKER_URL", url)
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "cache+memory://")
    return url


@pytest.mark.parametrize("name", REPLIES)
def test_odd_replies_are_shown_as_far_as_they_can_be_read(name: str, mailctl: Mailctl, broker: str) -> None:
    """No command fails because of them."""
    assert mailctl("db", "upgrade").code == ExitCode.DONE
    with rogue_worker(broker, REPLIES[name]) as answered:
        for command in (["workers"], ["health"], ["check-config"], ["queue", "list"]):
            ran = mailctl(*command)
            assert ran.code in (ExitCode.DONE, ExitCode.FAILED, ExitCode.UNAVAILABLE), ran.err
            assert "\x1b]" not in ran.out
    assert "active_queues" in answered


def test_on_redis_the_wait_ends_with_the_last_reply(redis_url: str) -> None:
    """Redis tells how many workers have received the question; nobody is waited for where there is none."""
    app = Celery("asking", broker=redis_url, set_as_current=False)

    def ask(*names: str) -> set[str]:
        with app.connection_for_write() as connection:
            return set(ask_workers(app, "ping", connection, timeout=FOR_EVER, names=names))

    assert ask() == ask("one@host") == set()
    with rogue_worker(redis_url, {"one@host": 1}), rogue_worker(redis_url, {"two@host": 2}) as answered:
        assert ask() == {"one@host", "two@host"}
        assert len(answered) == 1


def test_a_reply_that_cannot_be_read_is_told(mailctl: Mailctl, broker: str) -> None:
    """In one sentence, with what to do."""
    assert mailctl("db", "upgrade").code == ExitCode.DONE
    with rogue_worker(broker, {"rogue@host": []}, clock="noon"):
        ran = mailctl("workers")
    assert ran.code == ExitCode.FAILED
    assert "sends a reply that cannot be read (TypeError)" in ran.err
