"""The inspector asks the broker of an app, here one in memory."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from mailctl.broker.inspector import BrokerInspector, MessageCounts
from mailctl.broker.unclaimed import UnclaimedMessages, restore_command

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def app() -> Iterator[Celery]:
    """An app with a broker and a result backend in memory."""
    with Celery("inspected", broker="memory://", backend="cache+memory://", set_as_current=False) as app:
        yield app


@pytest.fixture
def queue(app: Celery) -> str:
    """A queue with a message, and with two unclaimed ones."""
    name = f"q-{uuid.uuid4()}"
    with app.connection_for_write() as connection:
        for target in (name, f"{name}.unclaimed", f"{name}.unclaimed"):
            connection.SimpleQueue(target).put("a message")
    return name


def test_a_queue_is_counted(app: Celery, queue: str) -> None:
    """A broker in memory does not count unacknowledged messages."""
    broker = BrokerInspector(app)
    assert broker.is_in_memory
    assert broker.depth(queue) == MessageCounts(ready=1, unacked=None)
    assert broker.ready_counts([queue, "nothing"]) == {queue: 1, "nothing": 0}
    assert broker.inspect_queues([queue])[queue].unclaimed == 2


def test_a_broker_that_shows_no_messages_leaves_a_search_incomplete(app: Celery, queue: str) -> None:
    """It has neither settings nor workers to ask."""
    broker = BrokerInspector(app)
    assert not broker.find_message("a", queue=queue).is_complete
    assert (broker.server_setting("maxmemory-policy"), broker.queues_by_worker()) == (None, {})
    assert broker.ping() >= 0


def test_results_are_read_from_the_backend(app: Celery) -> None:
    """A task without a result has none."""
    app.backend.store_result("done", {"email_id": "a"}, "SUCCESS")
    broker = BrokerInspector(app)
    assert broker.successful_result("done") == {"email_id": "a"}
    assert broker.task_result("unknown") is None
    assert broker.ping_backend() is not None


def test_an_app_without_a_backend_has_nothing_to_ping() -> None:
    """None stands for it."""
    with Celery("inspected", broker="memory://", backend="disabled://", set_as_current=False) as app:
        assert BrokerInspector(app).ping_backend() is None


def test_unclaimed_messages_are_restored(app: Celery, queue: str) -> None:
    """A broker in memory is not asked for its counts: only this process could have put them there."""
    unclaimed = UnclaimedMessages(app)
    assert unclaimed.counts([queue]) == {}
    assert unclaimed.restore(queue) == 2
    assert BrokerInspector(app).depth(queue).ready == 3
    assert restore_command("a queue") == "mailctl queue restore 'a queue'"


@pytest.mark.parametrize("backend", ["rpc://", "disabled://", None])
def test_results_that_are_not_stored_are_not_asked_for(backend: str | None) -> None:
    """There is no answer, which is not an error: a question would fail, or make a queue."""
    with Celery("inspected", broker="memory://", backend=backend, set_as_current=False) as app:
        assert BrokerInspector(app).task_result("a") is None
        assert BrokerInspector(app).successful_result("a") is None


def test_a_broker_in_memory_is_only_pinged(app: Celery) -> None:
    """Nobody would take a message out of it again; results in memory prove nothing either."""
    broker = BrokerInspector(app)
    assert not broker.probe().has_accepted_message
    assert broker.probe_backend() is not None
