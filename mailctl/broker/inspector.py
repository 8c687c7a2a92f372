"""What can be asked of the broker, the result backend and the workers of any Celery app.

Every question has a deadline, and "no answer" (an error) differs from "nothing there" (an empty answer).
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from amqp.exceptions import MessageNacked
from kombu.exceptions import KombuError

from mailctl.broker import redis
from mailctl.broker.messages import BrokerQueue, MessageSearchResult, unclaimed_queue
from mailctl.broker.refusals import refusal_of
from mailctl.broker.task_results import answer_of, leave_as_stored, result_of, stored_meta
from mailctl.celery_app import BROKER_TIMEOUT_SECONDS, FAIL_FAST, has_memory_broker, is_redis
from mailctl.deadlines import call_with_deadline
from mailctl.errors import BrokerRefused, BrokerUnavailable
from mailctl.fork_safety import no_fork
from mailctl.redaction import mask_credentials, mask_url

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from celery import Celery

    from mailctl.domain.models import CeleryResult


#: Seconds for which workers are given to answer a broadcast.
CONTROL_TIMEOUT_SECONDS = 1.0
_REDIS = "redis"
#: AMQP's reply code for a queue that is not there.
NO_SUCH_QUEUE = 404
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class MessageCounts:
    """How many messages a queue has."""

    ready: int
    #: Handed to a worker and not acknowledged, of all queues of the broker; None where it does not tell.
    unacked: int | None


class BrokerInspector:
    """Asks on behalf of an operator; nothing here changes anything.

    Args:
        app: any Celery app.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    @property
    def is_in_memory(self) -> bool:
        """Whether only its own process can see what is in it."""
        return has_memory_broker(self._app)

    def ping(self) -> float:
        """Return the seconds that a round trip to the broker takes.

        Raises:
            BrokerUnavailable: it does not answer.
        """

        def read(connection: Any) -> float:
            connection.ensure_connection(max_retries=1, timeout=BROKER_TIMEOUT_SECONDS)
            started = time.monotonic()
            if _is_redis(connection):
                connection.default_channel.client.ping()
            else:
                connection.default_channel.close()
            return time.monotonic() - started

        return ask_broker(self._app, read)

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

    def depth(self, queue: str) -> MessageCounts:
        """Return how many messages a queue has.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def read(connection: Any) -> MessageCounts:
            channel = connection.default_channel
            if _is_redis(connection):
                ready = redis.ready_count(channel, queue)
                return MessageCounts(ready=ready, unacked=redis.unacked_count(channel))
            return MessageCounts(ready=_amqp_message_count(connection, queue), unacked=None)

        return ask_broker(self._app, read)

    def inspect_queues(self, queues: Collection[str]) -> dict[str, BrokerQueue]:
        """Return what the broker has of these queues, by their names.

        Only Redis lets one look at messages; elsewhere they are counted as far as AMQP tells.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def read(connection: Any) -> dict[str, BrokerQueue]:
            if not _is_redis(connection):
                return {queue: _counted_queue(connection, queue) for queue in queues}
            channel = connection.default_channel
            taken = redis.unacked_messages(channel)
            wanted = dict.fromkeys([*queues, *(message.queue for message in taken if message.queue)])
            return {queue: redis.read_queue(channel, queue, taken) for queue in wanted}

        return ask_broker(self._app, read)

    def find_message(self, task_id: str, *, queue: str) -> MessageSearchResult:
        """Look for a task's message in a queue and among those handed to workers; only Redis lets one look.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def read(connection: Any) -> MessageSearchResult:
            if not _is_redis(connection):
                return MessageSearchResult(position=None, is_complete=False)
            return redis.find_message(connection.default_channel, task_id, queue)

        return ask_broker(self._app, read)

    def task_result(self, task_id: str) -> CeleryResult | None:
        """Return the stored result of a task; None if there is none, whether the task exists or not.

        Raises:
            BrokerUnavailable: the result backend does not answer.
        """
        return result_of(self._stored(task_id))

    def successful_result(self, task_id: str) -> Any:
        """Return what a task has stored as its result; None while there is nothing, or it failed.

        Raises:
            BrokerUnavailable: the result backend does not answer.
        """
        return answer_of(self._stored(task_id))

    def _stored(self, task_id: str) -> object:
        return self._ask_backend(lambda: stored_meta(self._results, task_id))

    @cached_property
    def _results(self) -> Any:
        """The result backend, as a reader."""
        return leave_as_stored(self._app.backend)

    def queues_by_worker(self) -> dict[str, tuple[str, ...]]:
        """Return the queues that each Celery worker consumes, by node name; ours and those of others.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        if self.is_in_memory:
            return {}

        def read(connection: Any) -> dict[str, tuple[str, ...]]:
            inspect = self._app.control.inspect(timeout=CONTROL_TIMEOUT_SECONDS, connection=connection)
            replies = inspect.active_queues() or {}
            return {node: tuple(queue["name"] for queue in queues) for node, queues in replies.items()}

        return ask_broker(self._app, read)

    def tasks_by_worker(self, nodes: Collection[str]) -> dict[str, frozenset[str]]:
        """Return the names of the tasks that each of some Celery workers has, of those that answer.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def read(connection: Any) -> dict[str, frozenset[str]]:
            inspect = self._app.control.inspect(
                destination=list(nodes),
                timeout=CONTROL_TIMEOUT_SECONDS,
                connection=connection,
                limit=len(nodes),
            )
            # Celery adds the attributes of a task in brackets.
            replies = inspect.registered() or {}
            return {
                node: frozenset(str(name).partition(" [")[0] for name in names)
                for node, names in replies.items()
            }

        return ask_broker(self._app, read)

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

        return ask_broker(self._app, read)

    def _ask_backend(self, question: Callable[[], _T]) -> _T:
        with _translate_backend_errors():
            # Imports the driver, as `ask_broker` does before its deadline begins.
            _ = self._app.backend

        def answer() -> _T:
            with no_fork(), _translate_backend_errors():
                return question()

        return call_with_deadline(answer, service="The result backend", error_class=BrokerUnavailable)


def ask_broker(app: Celery, question: Callable[[Any], _T]) -> _T:
    """Return the answer to a question that is put over a connection to the broker.

    Raises:
        BrokerUnavailable: the broker does not answer, or not in time.
    """

    connection = fail_fast_connection(app)
    # Imports the driver, which takes long on a busy host; the deadline is for the broker's part alone.
    _ = connection.transport

    def answer() -> _T:
        with no_fork(), connection, _translate_broker_errors(connection):
            return question(connection)

    return call_with_deadline(answer, service="The broker", error_class=BrokerUnavailable)


def count_ready(app: Celery, queues: Collection[str]) -> dict[str, int]:
    """Return how many messages each queue has that no worker has taken; none where there is no such queue.

    Raises:
        BrokerUnavailable: the broker does not answer.
    """
    return ask_broker(app, lambda connection: {queue: count_ready_on(connection, queue) for queue in queues})


def count_ready_on(connection: Any, queue: str) -> int:
    """Return how many messages a queue has that no worker has taken, over a connection that is open."""
    if _is_redis(connection):
        return redis.ready_count(connection.default_channel, queue)
    return _amqp_message_count(connection, queue)


def fail_fast_connection(app: Celery) -> Any:
    """Return a connection of our own to the broker, which fails at once instead of trying again."""
    options = FAIL_FAST if is_redis(str(app.conf.broker_url)) else {}
    return app.connection_for_write(connect_timeout=BROKER_TIMEOUT_SECONDS, transport_options=options)


def broker_error(connection: Any, error: BaseException) -> BrokerUnavailable:
    """Return the error of a driver in our words, without the broker's password."""
    # kombu's own mask stands where there is no password, too.
    address, reason = mask_url(connection.as_uri(include_password=True)), _reason(error)
    if refusal := refusal_of(error):
        message = f"The broker at {address} refuses this: {refusal.reason or reason}."
        return BrokerRefused(message, fix=refusal.fix, exit_code=refusal.exit_code)
    return BrokerUnavailable(
        f"The broker at {address} does not answer: {reason}.",
        fix="Start it, or correct what names it: CELERY_BROKER_URL, REDIS_URL, or REDIS_HOST and its like.",
    )


def driver_errors(connection: Any) -> tuple[type[BaseException], ...]:
    """Return what the driver of this connection raises when the broker is in trouble."""
    errors = (*connection.connection_errors, *connection.channel_errors)
    return (KombuError, OSError, MessageNacked, *errors)


@contextmanager
def _translate_backend_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Each kind of result backend has errors of its own, and Celery knows no name for them all.
        if refusal := refusal_of(error):
            message = f"The result backend refuses this: {_reason(error)}."
            raise BrokerRefused(message, fix=refusal.fix, exit_code=refusal.exit_code) from error
        raise BrokerUnavailable(
            f"The result backend does not answer: {_reason(error)}.",
            fix="Start it, or correct CELERY_RESULT_BACKEND or the REDIS settings.",
        ) from error


@contextmanager
def _translate_broker_errors(connection: Any) -> Iterator[None]:
    try:
        yield
    except driver_errors(connection) as error:
        raise broker_error(connection, error) from error


def _is_redis(connection: Any) -> bool:
    return bool(connection.transport.driver_type == _REDIS)


def _counted_queue(connection: Any, queue: str) -> BrokerQueue:
    return BrokerQueue(
        queue=queue,
        ready=_amqp_message_count(connection, queue),
        messages=None,
        unacked=None,
        unclaimed=_amqp_message_count(connection, unclaimed_queue(queue)),
    )


def _amqp_message_count(connection: Any, queue: str) -> int:
    """Return how many messages AMQP tells of; none in a queue that nobody has made."""
    # A channel of its own: the broker closes it when there is no such queue.
    with connection.channel() as channel:
        try:
            return int(channel.queue_declare(queue=queue, passive=True).message_count)
        except connection.channel_errors as error:
            if getattr(error, "code", None) == NO_SUCH_QUEUE:
                return 0
            raise


def _reason(error: BaseException) -> str:
    return mask_credentials((str(error) or type(error).__name__).rstrip(".").splitlines()[0])
