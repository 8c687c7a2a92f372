"""The recorder in a process that publishes: it writes in the background, in order, and disturbs nothing."""

from __future__ import annotations

import logging
import sqlite3
import sys
import warnings
from contextlib import closing
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, Task, signals
from celery.local import maybe_evaluate
from celery.utils.dispatch import Signal
from kombu.exceptions import OperationalError
from sqlalchemy import select

from mailctl import record_tasks, runtime
from mailctl.celery_app import has_recorder
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.models import State
from mailctl.recorder import writer
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mailctl.domain.models import Email

TASKS = {"shop.send": {"kind": "notice", "address": "to", "user_id": "user"}}
SIGNALS = [each for each in vars(signals).values() if isinstance(each, Signal)]
NOTHING = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture(autouse=True)
def fresh_recorder() -> Iterator[None]:
    """What this process knows of a delivery log and of apps belongs to one test."""
    connected = {signal: list(signal.receivers) for signal in SIGNALS}
    yield
    for signal, receivers in connected.items():
        signal.receivers[:] = receivers
        signal.sender_receivers_cache.clear()
    writer.close()
    writer._health.pop()
    runtime.close()


@pytest.fixture
def make_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Celery]:
    """Makes the recorded app of a service, with a delivery log of its own."""
    module = ModuleType("recorder_shop")
    module.TASKS = TASKS  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "recorder_shop", module)

    def make(**values: Any) -> Celery:
        given = {"mailctl_home": tmp_path, "mailctl_tasks": "recorder_shop:TASKS"} | values
        settings = Settings(**given)
        app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
        runtime.configure(settings, app=app)
        record_tasks(app, settings=settings)
        return app

    return make


def define_send(app: Celery, **options: Any) -> Task:
    """Define the task of the service."""

    def send(to: str, user: object = None) -> str:
        return to

    return app.task(name="shop.send", shared=False, **options)(send)


def recorded(app: Celery) -> list[Email]:
    """Return the emails of the log, once everything is written."""
    writer.flush()
    parts = runtime.current()
    with reading(parts.engine) as connection:
        ids = connection.execute(select(emails.c.id)).scalars().all()
    return parts.history.emails(ids)


def test_publishing_never_waits_for_the_log(make_app: Callable[..., Celery], tmp_path: Path) -> None:
    """Another program blocks its database; the call returns, and the row comes later."""
    send = define_send(make_app())
    runtime.current()
    with closing(sqlite3.connect(tmp_path / "mailctl.db", isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        task_id = send.delay("zoe@example.com", user=7).id
        blocker.execute("ROLLBACK")
    [email] = recorded(send.app)
    assert (email.id, email.kind, email.to, email.user_id) == (task_id, "notice", "zoe@example.com", "7")


def test_emails_are_recorded_in_the_order_of_the_calls(make_app: Callable[..., Celery]) -> None:
    """By one thread."""
    send = define_send(make_app())
    ids = [send.delay(f"user{number}@example.com").id for number in range(30)]
    assert [email.id for email in recorded(send.app)] == ids


def test_a_memory_broker_leaves_publishing_to_a_relay(make_app: Callable[..., Celery]) -> None:
    """No other process sees the message."""
    send = define_send(make_app())
    send.delay("zoe@example.com")
    assert [(email.state, email.is_own_task) for email in recorded(send.app)] == [(State.PENDING, True)]


@pytest.mark.parametrize("protocol", [1, 2])
def test_both_protocols_are_recorded(protocol: int, make_app: Callable[..., Celery]) -> None:
    """By position as well, as the task is known here."""
    app = make_app()
    app.conf.task_protocol = protocol
    send = define_send(app)
    send.apply_async(("zoe@example.com", 7), countdown=60)
    [email] = recorded(app)
    assert (email.to, email.user_id, email.not_before is not None) == ("zoe@example.com", "7", True)


def test_a_task_that_is_defined_elsewhere_is_recorded_if_it_is_mapped(
    make_app: Callable[..., Celery],
) -> None:
    """A web process may publish by name; a name of the wire could be mailctl's, so the worker records it."""
    app = make_app()
    app.send_task("shop.send", kwargs={"to": "zoe@example.com"})
    app.send_task("send_welcome_email_task", kwargs={"user_data": {"email": "bob@example.com"}})
    app.send_task("shop.other", kwargs={"to": "eve@example.com"})
    assert [email.to for email in recorded(app)] == ["zoe@example.com"]


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


def test_a_mapping_that_cannot_be_used_stops_nothing(
    make_app: Callable[..., Celery], caplog: pytest.LogCaptureFixture
) -> None:
    """The tasks of the wire are still recorded."""
    app = make_app(mailctl_tasks="nowhere_to_be_found:TASKS")

    def welcome(user_data: object) -> None:
        raise AssertionError("no worker runs here")

    with warnings.catch_warnings():  # mailctl's task of this name may be a shared one of this process
        warnings.simplefilter("ignore")
        maybe_evaluate(app.task(welcome, name="send_welcome_email_task", shared=False))
        app.finalize()
    app.tasks["send_welcome_email_task"].delay({"email": "zoe@example.com"})
    assert [email.kind for email in recorded(app)] == ["welcome"]
    assert "MAILCTL_TASKS nowhere_to_be_found:TASKS cannot be imported" in caplog.text


def test_a_direct_call_and_an_eager_one_just_run(make_app: Callable[..., Celery]) -> None:
    """There is no message, so nothing is recorded."""
    send = define_send(make_app())
    assert send("zoe@example.com") == send.run("zoe@example.com") == "zoe@example.com"
    assert send.apply(("zoe@example.com",)).get() == "zoe@example.com"
    assert recorded(send.app) == []


def test_tasks_may_be_defined_at_any_time(make_app: Callable[..., Celery]) -> None:
    """Before the app is complete, after it, and as a class; each claims before it runs."""
    app = make_app()
    early = define_send(app)
    app.finalize()
    assert early.run.mailctl_claims
    other = make_app()
    other.finalize()
    late = define_send(other)
    record_tasks(other)
    other.mailctl_recorder._on_tasks_defined()  # as a worker does when it starts
    assert late.run.mailctl_claims


def test_recording_twice_is_recording_once(make_app: Callable[..., Celery]) -> None:
    """A service may call it in several modules."""
    app = make_app()
    record_tasks(app)
    send = define_send(app)
    send.delay("zoe@example.com")
    assert (has_recorder(app), len(recorded(app))) == (True, 1)


def test_what_was_not_published_has_failed(make_app: Callable[..., Celery]) -> None:
    """The broker did not take it; the service got the error, and its content is kept for a retry."""
    app = make_app()
    send = define_send(app)
    with app.connection_for_write("amqp://guest@127.0.0.1:1//") as connection:
        producer = app.amqp.Producer(connection, auto_declare=False)
        with pytest.raises(OperationalError):
            send.apply_async(("zoe@example.com",), producer=producer, retry=False)
    [email] = recorded(app)
    assert (email.state, email.error) == (State.FAILED, "the broker did not take its message")
    content = runtime.current().outbox.content(email.id)
    assert content is not None
    assert content.own_task == "shop.send"
