"""The connection of a worker's consumer, which has other settings than those of publishers.

A publisher fails at once, because the delivery log has the email. A consumer waits: a command without a
reply leaves it in doubt whether a message is done.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from mailctl.broker.broker_type import BrokerType, broker_type_of
from mailctl.celery_app import is_built_in_app

if TYPE_CHECKING:
    from celery import Celery

#: Seconds that Redis has to reply to a command of the consumer.
REPLY_SECONDS = 10.0
#: Seconds that Redis has to accept a connection.
CONNECT_SECONDS = 3.0
#: Seconds between heartbeats over AMQP: a connection counts as lost after two of them.
HEARTBEAT_SECONDS = 20
#: Seconds before the second attempt to connect, how much longer each further wait is, and the longest wait.
_RETRY_INTERVALS = {"interval_start": 1, "interval_step": 1, "interval_max": 5}
_REDIS_OPTIONS = {
    "socket_timeout": REPLY_SECONDS,
    "socket_connect_timeout": CONNECT_SECONDS,
    "socket_keepalive": True,
}


def use_consumer_settings(consumer: Any) -> None:
    """Make a Celery consumer connect with the settings of a consumer, and again soon after a failure."""
    consumer.connection_for_read = partial(_connect, consumer)


def _connect(consumer: Any, heartbeat: float | None = None) -> Any:
    app = consumer.app
    connection = app.connection_for_read(
        heartbeat=_heartbeat(consumer, heartbeat), transport_options=_transport_options(app)
    )
    connection.ensure_connection = partial(connection.ensure_connection, **_RETRY_INTERVALS)
    return consumer.ensure_connected(connection)


def _transport_options(app: Celery) -> dict[str, Any]:
    if broker_type_of(app.connection_for_read()) is not BrokerType.REDIS:
        return {}
    # What a service has set for its own app stays.
    return _REDIS_OPTIONS if is_built_in_app(app) else _REDIS_OPTIONS | app.conf.broker_transport_options


def _heartbeat(consumer: Any, heartbeat: float | None) -> float | None:
    """Return the seconds between heartbeats.

    With the pool `solo` the consumer answers none while it sends an email, so they stay as Celery has them.
    """
    is_solo = type(consumer.pool).__module__.endswith("solo")
    if not heartbeat or is_solo or not is_built_in_app(consumer.app):
        return heartbeat
    return min(heartbeat, HEARTBEAT_SECONDS)
