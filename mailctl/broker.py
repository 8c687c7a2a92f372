"""What can be asked of the broker, the result backend and the workers of any Celery app.

Every question has a deadline, and "no answer" (an error) differs from "nothing there" (an empty answer).
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from kombu.exceptions import KombuError

from mailctl.celery_app import BROKER_SECONDS, FAIL_FAST, is_in_memory, is_redis
from mailctl.errors import BrokerUnavailable
from mailctl.message import CeleryResult
from mailctl.question import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery

#: Seconds for which workers are given to answer a broadcast.
CONTROL_SECONDS = 1.0
#: Messages that are looked through for one task.
PEEK_LIMIT = 2000
_REDIS = "redis"
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Depth:
    """How many messages a queue has."""

    ready: int
    #: Handed to a worker and not acknowledged, of all queues of the broker; None where it does not tell.
    unacked: int | None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a message was found."""

    queue: str
    #: How many messages are before it; None if a worker has it.
    ahead: int | None


class Broker:
    """Asks on behalf of an operator; nothing here changes anything.

    Args:
        app: any Celery app.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    @property
    def is_in_memory(self) -> bool:
        """Whether only its own process can see what is in it."""
        return is_in_memory(self._app)

    def ping(self) -> float:
        """Return the seconds that a round trip to the broker takes.

        Raises:
            BrokerUnavailable: it does not answer.
        """

        def read(connection: Any) -> float:
            connection.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
            started = time.monotonic()
            if _is_redis(connection):
                connection.default_channel.client.ping()
            else:
                connection.default_channel.close()
            return time.monotonic() - started

        return self._ask_broker(read)

    def ping_backend(self) -> float | None:
        """Return the seconds that the result backend takes to answer; None if the app has none.

        Raises:
            BrokerUnavailable: it does not answer.
        """
        if str(self._app.conf.result_backend or "disabled").startswith("disabled"):
            return None
        started = time.monotonic()
        self._ask_backend(lambda: self._app.backend.get_state("mailctl-ping"))
        return time.monotonic() - started

    def depth(self, queue: str) -> Depth:
        """Return how many messages a queue has.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def read(connection: Any) -> Depth:
            channel = connection.default_channel
            if _is_redis(connection):
                ready = sum(channel.client.llen(key) for key in _redis_keys(channel, queue))
                return Depth(ready=ready, unacked=channel.client.hlen(channel.unacked_key))
            return Depth(ready=_declared_count(channel, queue), unacked=None)

        return self._ask_broker(read)

    def find(self, task_id: str, *, queue: str) -> Place | None:
        """Look for a task's message among the first `PEEK_LIMIT` of a queue and those handed to workers.

        Only Redis lets one look; elsewhere, and where it is not found, the answer is None.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def read(connection: Any) -> Place | None:
            return (
                _find_in_redis(connection.default_channel, task_id, queue) if _is_redis(connection) else None
            )

        return self._ask_broker(read)

    def result(self, task_id: str) -> CeleryResult | None:
        """Return the stored result of a task; None if there is none, whether the task exists or not.

        Raises:
            BrokerUnavailable: the result backend does not answer.
        """
        meta = self._ask_backend(lambda: self._app.backend.get_task_meta(task_id))
        if meta.get("status") in (None, "PENDING"):
            return None
        result = meta.get("result")
        text = str(result) if isinstance(result, BaseException) else ""
        return CeleryResult(state=meta["status"], text=text)

    def answer(self, task_id: str) -> Any:
        """Return what a task has stored as its result; None while there is nothing, or it failed.

        Raises:
            BrokerUnavailable: the result backend does not answer.
        """
        meta = self._ask_backend(lambda: self._app.backend.get_task_meta(task_id))
        return meta.get("result") if meta.get("status") == "SUCCESS" else None

    def consumers(self) -> dict[str, tuple[str, ...]]:
        """Return the queues that each Celery worker consumes, by node name; ours and those of others.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        if self.is_in_memory:
            return {}

        def read(connection: Any) -> dict[str, tuple[str, ...]]:
            inspect = self._app.control.inspect(timeout=CONTROL_SECONDS, connection=connection)
            replies = inspect.active_queues() or {}
            return {node: tuple(queue["name"] for queue in queues) for node, queues in replies.items()}

        return self._ask_broker(read)

    def redis_setting(self, name: str) -> str | None:
        """Return a setting of the Redis server; None if the broker is none or does not tell.

        Raises:
            BrokerUnavailable: it does not answer.
        """

        def read(connection: Any) -> str | None:
            if not _is_redis(connection):
                return None
            value = connection.default_channel.client.config_get(name).get(name)
            return value.decode() if isinstance(value, bytes) else value

        return self._ask_broker(read)

    def _ask_broker(self, question: Callable[[Any], _T]) -> _T:
        def answer() -> _T:
            with self._connection() as connection, _broker_errors(connection):
                return question(connection)

        return ask(answer, whom="The broker", error_class=BrokerUnavailable)

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        with fail_fast_connection(self._app) as connection:
            yield connection

    def _ask_backend(self, question: Callable[[], _T]) -> _T:
        def answer() -> _T:
            try:
                return question()
            except Exception as error:
                # Each kind of result backend has errors of its own, and Celery knows no name for them all.
                raise BrokerUnavailable(
                    f"The result backend does not answer: {_reason(error)}.",
                    fix="Start it, or correct CELERY_RESULT_BACKEND or the REDIS settings.",
                ) from error

        return ask(answer, whom="The result backend", error_class=BrokerUnavailable)


def fail_fast_connection(app: Celery) -> Any:
    """Return a connection of our own to the broker, which fails at once instead of trying again."""
    options = FAIL_FAST if is_redis(str(app.conf.broker_url)) else {}
    return app.connection_for_write(connect_timeout=BROKER_SECONDS, transport_options=options)


def broker_error(connection: Any, error: BaseException) -> BrokerUnavailable:
    """Return the error of a driver in our words, without the broker's password."""
    return BrokerUnavailable(
        f"The broker at {connection.as_uri()} does not answer: {_reason(error)}.",
        fix="Start it, or correct REDIS_HOST, REDIS_PORT, REDIS_PASSWORD or CELERY_BROKER_URL.",
    )


def driver_errors(connection: Any) -> tuple[type[BaseException], ...]:
    """Return what the driver of this connection raises when the broker is in trouble."""
    return (KombuError, OSError, *connection.connection_errors, *connection.channel_errors)


@contextmanager
def _broker_errors(connection: Any) -> Iterator[None]:
    try:
        yield
    except driver_errors(connection) as error:
        raise broker_error(connection, error) from error


def _is_redis(connection: Any) -> bool:
    return bool(connection.transport.driver_type == _REDIS)


def _redis_keys(channel: Any, queue: str) -> list[str]:
    return [channel._q_for_pri(queue, step) for step in channel.priority_steps]


def _find_in_redis(channel: Any, task_id: str, queue: str) -> Place | None:
    client, ahead = channel.client, 0
    for key in _redis_keys(channel, queue):
        # The next message to be taken is at the end of the list.
        messages = client.lrange(key, -PEEK_LIMIT, -1)[::-1]
        for position, raw in enumerate(messages):
            if _is_for(raw, task_id):
                return Place(queue=queue, ahead=ahead + position)
        ahead += len(messages)
    for raw in client.hvals(channel.unacked_key):
        message = json.loads(raw)[0]
        if message.get("headers", {}).get("id") == task_id:
            return Place(queue=queue, ahead=None)
    return None


def _is_for(raw: bytes, task_id: str) -> bool:
    return bool(json.loads(raw).get("headers", {}).get("id") == task_id)


def _declared_count(channel: Any, queue: str) -> int:
    return int(channel.queue_declare(queue=queue, passive=True).message_count)


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).rstrip(".").splitlines()[0]
