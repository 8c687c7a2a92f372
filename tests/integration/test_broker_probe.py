"""The probe of a broker and of a result backend: what it proves, and that nothing is left of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.broker.inspector import BrokerInspector
from mailctl.broker.redis import RedisAdapter
from mailctl.broker.result_writer import store_results
from mailctl.celery_app import create_celery_app
from mailctl.errors import BrokerRefused
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from tests.servers import RabbitServer, RedisServer


@pytest.fixture
def client(redis_server: RedisServer, redis_url: str) -> Iterator[redis.Redis]:
    """A client of an empty Redis, which may be made to refuse."""
    with redis_server.client() as client:
        yield client
        client.config_set("maxmemory", 0)


def inspector(url: str) -> BrokerInspector:
    """Return the inspector of an app on a broker, which keeps its results in Redis or nowhere."""
    backend = url if url.startswith("redis") else "disabled://"
    settings = Settings(celery_broker_url=url, celery_result_backend=backend)  # type: ignore[arg-type]
    return BrokerInspector(create_celery_app(settings))


def test_redis_accepts_a_message_and_a_result(redis_url: str, client: redis.Redis) -> None:
    """They are there for no other client, not even for a moment."""
    client.config_resetstat()
    broker = inspector(redis_url)
    assert broker.probe().has_accepted_message
    assert broker.probe_backend() is not None
    commands = client.info("commandstats")
    assert commands["cmdstat_lpush"]["calls"] == commands["cmdstat_set"]["calls"] == 1
    assert [key for key in client.scan_iter() if b"probe" in key] == []


def test_all_keys_have_the_prefix_and_all_is_read_under_it(redis_url: str, client: redis.Redis) -> None:
    """Queues, messages that a worker has, and results; the connections have the name that is wanted."""
    settings = Settings(
        celery_broker_url=redis_url,  # type: ignore[arg-type]
        celery_result_backend=redis_url,  # type: ignore[arg-type]
        redis_key_prefix="shop:",
        redis_client_name="shop-mail",
    )
    app = create_celery_app(settings)
    for number in range(3):
        app.send_task("reset", task_id=f"task-{number}", queue="shop")
    store_results(app.backend, [("task-0", "SUCCESS", None)])
    with app.connection_for_write() as connection:
        connection.default_channel.basic_get("shop")
        adapter = RedisAdapter(connection)
        queue = adapter.read_queues(["shop"])["shop"]
        assert (queue.ready, len(queue.messages), len(queue.unacked)) == (2, 2, 1)
        assert adapter.find_message("task-2", "shop").position is not None
        assert all(key.startswith(b"shop:") for key in client.scan_iter())
        assert b"shop:celery-task-meta-task-0" in set(client.scan_iter())
        assert "shop-mail" in {each["name"] for each in client.client_list()}


def test_a_full_redis_answers_and_accepts_nothing(redis_url: str, client: redis.Redis) -> None:
    """The fix says what to do about it; no command is quoted."""
    client.config_set("maxmemory", 1)
    broker = inspector(redis_url)
    assert broker.ping() >= 0
    for probe in (broker.probe, broker.probe_backend):
        with pytest.raises(BrokerRefused, match="command not allowed when used memory") as caught:
            probe()
        assert "raise its `maxmemory`" in caught.value.fix
        assert "LPUSH" not in caught.value.message


def test_rabbitmq_confirms_a_message_that_no_queue_keeps(
    rabbit_server: RabbitServer, rabbit_url: str
) -> None:
    """No queue is declared for it."""
    assert inspector(rabbit_url).probe().has_accepted_message
    assert inspector(rabbit_url).probe_backend() is None
    host = rabbit_url.rpartition("/")[2]
    assert rabbit_server.control("list_queues", "-p", host, "name").split()[1:] == []
