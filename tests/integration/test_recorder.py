"""The recorder in a process that publishes while a database or a broker fails: it disturbs nothing."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from kombu.exceptions import OperationalError

from mailctl import runtime
from mailctl.domain.states import State
from mailctl.recorder import writer
from tests.recorded_app import define_send, making_apps, recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from celery import Celery

NOTHING = "postgresql://nobody@127.0.0.1:1/nothing"
#: Options with which kombu tries to connect once.
ONCE = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}


@pytest.fixture
def make_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Celery]]:
    """Makes the recorded app of a service, with a delivery log of its own."""
    with making_apps(tmp_path, monkeypatch) as make:
        yield make


def test_publishing_never_waits_for_the_log(make_app: Callable[..., Celery], tmp_path: Path) -> None:
    """Another program blocks its database; the call returns, and the row comes later."""
    send = define_send(make_app())
    runtime.current()
    with closing(sqlite3.connect(tmp_path / "mailctl.db", isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        task_id = send.delay("zoe@example.com", user=7).id
        blocker.execute("ROLLBACK")
    [email] = recorded()
    assert (email.id, email.kind, email.to, email.user_id) == (task_id, "notice", "zoe@example.com", "7")


def test_a_log_that_is_down_is_told_once(
    make_app: Callable[..., Celery], caplog: pytest.LogCaptureFixture
) -> None:
    """Not once for each email."""
    send = define_send(make_app(mailctl_database_url=NOTHING))
    with caplog.at_level(logging.ERROR, logger="mailctl.recorder"):
        for number in range(20):
            send.delay(f"user{number}@example.com")
        writer.flush()
        send.delay("last@example.com")
        writer.flush()
    told = [each.getMessage() for each in caplog.records if "are not recorded" in each.getMessage()]
    assert len(told) == 1, told
    assert "127.0.0.1" in told[0]


def test_what_was_not_published_has_failed(make_app: Callable[..., Celery]) -> None:
    """The broker did not accept it; the service got the error, and its content is kept for a retry."""
    app = make_app()
    send = define_send(app)
    with app.connection_for_write("amqp://guest@127.0.0.1:1//", transport_options=ONCE) as connection:
        producer = app.amqp.Producer(connection, auto_declare=False)
        with pytest.raises(OperationalError):
            send.apply_async(("zoe@example.com",), producer=producer, retry=False)
    [email] = recorded()
    assert (email.state, email.error) == (State.FAILED, "the broker did not accept its message")
    content = runtime.current().outbox.content(email.id)
    assert content is not None
    assert content.own_task == "shop.send"
