"""The inspector: read-only queries of the broker, the result backend and the workers of any Celery app.

Every query has a deadline. No answer is an error; an empty answer means that there is nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from celery import states

from mailctl.broker.adapters import adapter_for
from mailctl.broker.confirms import PublishersBlocked
from mailctl.broker.connection import ask_broker, drop_connection, error_reason
from mailctl.broker.refusals import CERTIFICATE_FIX, has_untrusted_certificate, refusal_of
from mailctl.broker.task_results import (
    as_raw_reader,
    parse_result,
    read_stored_meta,
    store_probe,
    successful_value,
)
from mailctl.broker.worker_replies import ask_workers, queue_names, task_attribute, task_ids, task_names
from mailctl.celery_app import BROKER_TIMEOUT_SECONDS, has_memory_broker, stores_results
from mailctl.errors import BrokerRefused, BrokerUnavailable
from mailctl.process.deadlines import call_with_deadline
from mailctl.process.fork_safety import no_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from celery import Celery

    from mailctl.broker.adapters import BrokerAdapter
    from mailctl.broker.messages import BrokerQueue, MessageSearchResult
    from mailctl.domain.models import CeleryResult

#: Seconds that workers have to answer a broadcast.
CONTROL_TIMEOUT_SECONDS = 1.0
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class MessageCounts:
    """The message counts of a queue."""

    #: Messages that no worker has taken.
    ready: int
    #: Unacknowledged messages of all queues of the broker; None if the broker does not report them.
    unacked: int | None


@dataclass(frozen=True, kw_only=True)
class TasksInHand:
    """The tasks that workers have."""

    ids: frozenset[str]
    #: Whether as many workers have answered as there are; a busy one may not have.
    is_complete: bool


@dataclass(frozen=True, kw_only=True)
class BrokerAnswer:
    """The answer of a broker to a probe."""

    #: Seconds of a round trip.
    seconds: float
    #: Whether it has accepted a message; False if this type of broker cannot be asked without leaving one.
    has_accepted_message: bool


class BrokerInspector:
    """Queries the broker, the result backend and the workers of an app, and changes nothing.

    Args:
        app: any Celery app.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    @property
    def is_in_memory(self) -> bool:
        """Whether the broker is private to its process."""
        return has_memory_broker(self._app)

    def ping(self) -> float:
        """Return the seconds that a round trip to the broker takes.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def measure(connection: Any) -> float:
            connection.ensure_connection(max_retries=1, timeout=BROKER_TIMEOUT_SECONDS)
            started = time.monotonic()
            adapter_for(connection).ping()
            return time.monotonic() - started

        return ask_broker(self._app, measure)

    def probe(self) -> BrokerAnswer:
        """Measure a round trip to the broker, and publish a message that it does not keep.

        Raises:
            BrokerRefused: the broker answers, but accepts no messages.
            BrokerUnavailable: the broker does not answer.
        """

        def publish(connection: Any) -> BrokerAnswer:
            connection.ensure_connection(max_retries=1, timeout=BROKER_TIMEOUT_SECONDS)
            adapter, started = adapter_for(connection), time.monotonic()
            adapter.ping()
            seconds = time.monotonic() - started
            try:
                return BrokerAnswer(seconds=seconds, has_accepted_message=adapter.publish_probe())
            except Exception:
                # Any exception: closing a connection in an unknown state would wait for the broker.
                drop_connection(connection)
                raise

        try:
            return ask_broker(self._app, publish)
        except BrokerUnavailable as error:
            if isinstance(error.__cause__, PublishersBlocked):
                raise BrokerRefused(error.message, fix=error.fix) from error
            raise

    def depth(self, queue: str) -> MessageCounts:
        """Return the message counts of a queue.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def count(adapter: BrokerAdapter) -> MessageCounts:
            return MessageCounts(ready=adapter.ready_count(queue), unacked=adapter.unacked_count())

        return self._ask(count)

    def ready_counts(self, queues: Collection[str]) -> dict[str, int]:
        """Return for each queue how many messages no worker has taken; 0 if there is no such queue.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        return self._ask(lambda adapter: {queue: adapter.ready_count(queue) for queue in queues})

    def inspect_queues(self, queues: Collection[str]) -> dict[str, BrokerQueue]:
        """Return the contents of queues by name: messages on Redis, and elsewhere only their number.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        return self._ask(lambda adapter: adapter.read_queues(queues))

    def find_message(self, task_id: str, *, queue: str) -> MessageSearchResult:
        """Search for a task's message in a queue and among unacknowledged messages; only Redis shows them.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        return self._ask(lambda adapter: adapter.find_message(task_id, queue))

    def find_lost_messages(self, ids: Sequence[str]) -> frozenset[str]:
        """Return the ids of emails whose messages the broker has lost, as `BrokerAdapter` describes.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        return self._ask(lambda adapter: adapter.find_lost_messages(ids))

    def server_setting(self, name: str) -> str | None:
        """Return a setting of the Redis server; None for other brokers, or if there is no such setting.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        return self._ask(lambda adapter: adapter.server_setting(name))

    def queues_by_worker(self) -> dict[str, tuple[str, ...]]:
        """Return the queues that each Celery worker consumes, by node name, including other apps' workers.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        if self.is_in_memory:
            return {}

        def read(connection: Any) -> dict[str, tuple[str, ...]]:
            replies = ask_workers(self._app, "active_queues", connection, timeout=CONTROL_TIMEOUT_SECONDS)
            return {node: queue_names(reply) for node, reply in replies.items()}

        return ask_broker(self._app, read)

    def has_silent_worker(self, nodes: Collection[str], *, queues: Collection[str]) -> bool:
        """Return whether a worker that may consume one of these queues has not answered.

        Args:
            nodes: the nodes that `queues_by_worker` has returned.
            queues: the names of the queues.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        if self.is_in_memory:
            return False
        return ask_broker(
            self._app, lambda connection: not self._have_all_answered(connection, queues, frozenset(nodes))
        )

    def tasks_by_worker(self, nodes: Collection[str]) -> dict[str, frozenset[str]]:
        """Return the task names that each of these Celery workers has registered, if it answers.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def read(connection: Any) -> dict[str, frozenset[str]]:
            replies = ask_workers(
                self._app, "registered", connection, timeout=CONTROL_TIMEOUT_SECONDS, names=nodes
            )
            return {node: task_names(reply) for node, reply in replies.items()}

        return ask_broker(self._app, read)

    def task_attributes(self, nodes: Collection[str], *, task: str, attribute: str) -> dict[str, str]:
        """Return an attribute of a registered task of each of these Celery workers, by node name.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def read(connection: Any) -> dict[str, str]:
            replies = ask_workers(
                self._app,
                "registered",
                connection,
                timeout=CONTROL_TIMEOUT_SECONDS,
                names=nodes,
                arguments={"taskinfoitems": [attribute]},
            )
            found = {node: task_attribute(reply, task, attribute) for node, reply in replies.items()}
            return {node: value for node, value in found.items() if value}

        return ask_broker(self._app, read)

    def tasks_in_hand(self, ids: Collection[str], *, queues: Collection[str]) -> TasksInHand:
        """Return which tasks the workers of some queues have: running, reserved, or waiting for their ETA.

        A worker whose pool has no process of its own (`solo`) does not answer while it runs a task.

        Args:
            ids: the ids of the tasks.
            queues: the queues that their messages were in.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def read(connection: Any) -> TasksInHand:
            arguments = {"ids": list(ids)}
            replies = ask_workers(
                self._app, "query_task", connection, timeout=CONTROL_TIMEOUT_SECONDS, arguments=arguments
            )
            found = frozenset(task_id for reply in replies.values() for task_id in task_ids(reply))
            is_complete = self._have_all_answered(connection, queues, frozenset(replies))
            return TasksInHand(ids=found & frozenset(ids), is_complete=is_complete)

        return ask_broker(self._app, read)

    def _have_all_answered(self, connection: Any, queues: Collection[str], nodes: AbstractSet[str]) -> bool:
        """Whether these nodes are all workers: all that consume these queues, or all of the broker."""
        adapter = adapter_for(connection)
        listeners = adapter.listener_count(self._app.control.mailbox.exchange.name)
        if listeners is not None:
            return listeners <= len(nodes)
        consumers = {queue: count for queue in queues if (count := adapter.consumer_count(queue))}
        if not consumers:
            return True
        replies = ask_workers(self._app, "active_queues", connection, timeout=CONTROL_TIMEOUT_SECONDS)
        consumed = Counter(name for node in nodes & replies.keys() for name in queue_names(replies[node]))
        return all(count <= consumed[queue] for queue, count in consumers.items())

    def ping_backend(self) -> float | None:
        """Return the seconds that the result backend takes to answer; None if the app has none.

        Raises:
            BrokerUnavailable: the result backend does not answer.
        """
        if str(self._app.conf.result_backend or "disabled").startswith("disabled"):
            return None
        started = time.monotonic()
        self._ask_backend(lambda: self._app.backend.get_state("mailctl-ping"))
        return time.monotonic() - started

    def probe_backend(self) -> float | None:
        """Store a result that the backend does not keep; only Redis can be asked to.

        Returns:
            The seconds that the answer takes, also that of a backend that was only read; None if the app has
            no result backend.

        Raises:
            BrokerRefused: the result backend answers, but stores nothing.
            BrokerUnavailable: the result backend does not answer.
        """
        seconds = self.ping_backend()
        if seconds is not None and stores_results(self._app):
            self._ask_backend(lambda: store_probe(self._app.backend))
        return seconds

    def task_result(self, task_id: str) -> CeleryResult | None:
        """Return the stored result of a task; None if there is none, even if the task exists.

        Raises:
            BrokerUnavailable: the result backend does not answer.
        """
        return parse_result(self._stored_meta(task_id))

    def successful_result(self, task_id: str) -> Any:
        """Return the value that a task returned; None if it has not finished, or failed.

        Raises:
            BrokerUnavailable: the result backend does not answer.
        """
        return successful_value(self._stored_meta(task_id))

    def _ask(self, question: Callable[[BrokerAdapter], _T]) -> _T:
        return ask_broker(self._app, lambda connection: question(adapter_for(connection)))

    def _stored_meta(self, task_id: str) -> object:
        if not stores_results(self._app):
            # Asking would fail, or make a queue on the broker in which nothing arrives.
            return {"status": states.PENDING}
        return self._ask_backend(lambda: read_stored_meta(self._raw_backend, task_id))

    @cached_property
    def _raw_backend(self) -> Any:
        return as_raw_reader(self._app.backend)

    def _ask_backend(self, question: Callable[[], _T]) -> _T:
        with _translate_backend_errors():
            # This imports the driver, before the deadline begins.
            _ = self._app.backend

        def answer() -> _T:
            with no_fork(), _translate_backend_errors():
                return question()

        return call_with_deadline(answer, service="The result backend", error_class=BrokerUnavailable)


@contextmanager
def _translate_backend_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Each type of result backend has errors of its own, and Celery has no common class for them.
        if refusal := refusal_of(error):
            message = f"The result backend refused the request: {error_reason(error)}."
            raise BrokerRefused(message, fix=refusal.fix, exit_code=refusal.exit_code) from error
        raise BrokerUnavailable(
            f"The result backend does not answer: {error_reason(error)}.",
            fix=CERTIFICATE_FIX
            if has_untrusted_certificate(error)
            else "Start it, or correct CELERY_RESULT_BACKEND or the REDIS settings.",
        ) from error
