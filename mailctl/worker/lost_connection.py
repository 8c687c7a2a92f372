"""What a worker does with a connection to Redis that it has lost, while it connects anew."""

from __future__ import annotations

from functools import wraps
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError


def tolerate_lost_connection(channel: Any) -> None:
    """Let the worker live whose channel is still used after its connection is gone.

    To acknowledge a message that came by it, or to close it, kombu then asks None for an address. Celery
    expects errors of connections there, and another ends the worker. Redis still has the messages.
    """
    make = channel._get_pool

    @wraps(make)
    def make_while_connected(*args: Any, **kwargs: Any) -> Any:
        if channel.connection is None or channel.connection.client is None:
            raise RedisConnectionError("this connection is gone")
        return make(*args, **kwargs)

    channel._get_pool = make_while_connected
