"""The Redis adapter reads queues without taking messages from them."""

from __future__ import annotations

import pytest

from mailctl.broker.redis import PEEK_LIMIT, RedisAdapter
from tests.unit.broker.fakes import FakeRedis, redis_connection, redis_message, unacked_message


@pytest.fixture
def client() -> FakeRedis:
    """A server with a queue of two priorities, and an unacknowledged message of another queue."""
    client = FakeRedis()
    # Workers take from the end of each list.
    client.lists = {
        "celery": [redis_message("b"), redis_message("a")],
        "celery:3": [redis_message("c")],
        "celery.unclaimed": [redis_message("y"), redis_message("x")],
    }
    client.unacked = {"tag": unacked_message("u", "reports")}
    return client


@pytest.fixture
def adapter(client: FakeRedis) -> RedisAdapter:
    """The adapter for that server."""
    return RedisAdapter(redis_connection(client))


def test_a_queue_is_counted_over_its_priorities(adapter: RedisAdapter) -> None:
    """Unacknowledged messages are counted over all queues."""
    assert (adapter.ready_count("celery"), adapter.unacked_count()) == (3, 1)
    assert adapter.ready_count("nothing") == 0


def test_messages_are_read_in_the_order_of_delivery(adapter: RedisAdapter) -> None:
    """Queues with unacknowledged messages are read as well."""
    found = adapter.read_queues(["celery"])
    assert list(found) == ["celery", "reports"]
    assert [message.task_id for message in found["celery"].messages or ()] == ["a", "b", "c"]
    assert (found["celery"].ready, found["celery"].unclaimed, found["celery"].unacked) == (3, 2, ())
    assert [message.task_id for message in found["reports"].unacked or ()] == ["u"]


@pytest.mark.parametrize(
    ("task_id", "queue", "ahead"), [("b", "celery", 1), ("c", "celery", 2), ("u", "reports", None)]
)
def test_a_message_is_found_with_its_position(
    adapter: RedisAdapter, task_id: str, queue: str, ahead: int | None
) -> None:
    """A message that a worker has taken has no position."""
    search = adapter.find_message(task_id, "celery")
    assert search.is_complete
    assert search.position is not None
    assert (search.position.queue, search.position.ahead) == (queue, ahead)


def test_a_search_is_complete_unless_the_queue_is_too_long(adapter: RedisAdapter, client: FakeRedis) -> None:
    """Only the first messages are examined."""
    assert (
        adapter.find_message("z", "celery").position,
        adapter.find_message("z", "celery").is_complete,
    ) == (None, True)
    client.lists["celery"] = [redis_message("n")] * PEEK_LIMIT
    assert not adapter.find_message("z", "celery").is_complete


def test_a_setting_is_text_or_missing(adapter: RedisAdapter, client: FakeRedis) -> None:
    """Some clients return bytes."""
    assert adapter.server_setting("maxmemory-policy") == "noeviction"
    client.settings["maxmemory-policy"] = b"allkeys-lru"
    assert adapter.server_setting("maxmemory-policy") == "allkeys-lru"
    assert adapter.server_setting("other") is None


def test_unclaimed_messages_are_restored_in_order(adapter: RedisAdapter, client: FakeRedis) -> None:
    """They come after the messages that the queue has."""
    assert adapter.restore_unclaimed("celery") == 2
    found = adapter.read_queues(["celery"])["celery"]
    assert [message.task_id for message in found.messages or ()] == ["a", "b", "x", "y", "c"]
    assert (found.unclaimed, adapter.restore_unclaimed("celery")) == (0, 0)
