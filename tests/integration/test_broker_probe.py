"""The probe of a broker and of a result backend: what it proves, and that nothing is left of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.broker.inspector import BrokerInspector
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
