"""The consumer of a worker has other settings than publishers, and keeps those of a service."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.concurrency.solo import TaskPool as SoloPool

from mailctl.celery_app import BROKER_TIMEOUT_SECONDS, create_celery_app
from mailctl.settings import Settings
from mailctl.worker.consumer_connection import HEARTBEAT_SECONDS, REPLY_SECONDS, use_consumer_settings


def connect(app: Celery, *, pool: type[Any] = PreforkPool, heartbeat: float = 120) -> Any:
    """Return the connection that a consumer of an app opens."""
    consumer = SimpleNamespace(
        app=app, pool=object.__new__(pool), ensure_connected=lambda connection: connection
    )
    use_consumer_settings(consumer)
    return consumer.connection_for_read(heartbeat=heartbeat)  # type: ignore[attr-defined]


def built_in(url: str) -> Celery:
    """Return mailctl's own app."""
    return create_celery_app(
        Settings(debug=False, celery_broker_url=url, secret_key="a-secret-key-of-the-service-that-is-long")
    )


def test_a_consumer_gives_redis_time_to_reply() -> None:
    """A publisher does not."""
    app = built_in("redis://localhost/0")
    assert connect(app).transport_options["socket_timeout"] == REPLY_SECONDS
    assert app.connection_for_write().transport_options["socket_timeout"] == BROKER_TIMEOUT_SECONDS
    assert connect(app).transport_options["queue_order_strategy"] == "priority"


def test_what_a_service_has_set_stays() -> None:
    """What it has not set gets a limit."""
    app = Celery("shop", broker="redis://localhost/0", set_as_current=False)
    app.conf.broker_transport_options = {"socket_timeout": 42}
    options = connect(app).transport_options
    assert (options["socket_timeout"], options["socket_keepalive"]) == (42, True)


@pytest.mark.parametrize(
    ("pool", "heartbeat", "expected"),
    [(PreforkPool, 120, HEARTBEAT_SECONDS), (PreforkPool, 5, 5), (PreforkPool, 0, 0), (SoloPool, 120, 120)],
)
def test_a_silent_rabbitmq_is_noticed_sooner(pool: type[Any], heartbeat: float, expected: float) -> None:
    """Unless the consumer cannot answer heartbeats while it sends an email."""
    assert connect(built_in("amqp://localhost"), pool=pool, heartbeat=heartbeat).heartbeat == expected
