"""Remote control of Celery workers over the broker.

A worker that does not answer is not necessarily dead: it may be busy, or connected to another broker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mailctl.broker.connection import ask_broker
from mailctl.broker.inspector import CONTROL_TIMEOUT_SECONDS
from mailctl.broker.worker_replies import ask_workers, mapping, number, queue_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celery import Celery

#: Seconds that workers called by name have to answer; the wait ends when all have answered.
_NAMED_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Node:
    """A Celery worker that answered."""

    name: str
    queues: tuple[str, ...]
    pid: int | None
    pool: str | None
    concurrency: int | None
    #: Seconds since it started.
    uptime_seconds: int | None


class RemoteControl:
    """Queries the Celery workers of an app, and stops them.

    Args:
        app: the app whose broker the workers are connected to.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def nodes(self) -> dict[str, Node]:
        """Return every worker that answers, by node name.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def read(connection: Any) -> dict[str, Node]:
            queues = ask_workers(self._app, "active_queues", connection, timeout=CONTROL_TIMEOUT_SECONDS)
            facts: Mapping[str, Any] = {}
            if queues:
                # These workers have just answered: the wait ends as soon as all have answered again.
                facts = ask_workers(
                    self._app, "stats", connection, timeout=CONTROL_TIMEOUT_SECONDS, names=queues
                )
            return {name: _node(name, found, mapping(facts.get(name))) for name, found in queues.items()}

        return ask_broker(self._app, read)

    def ping(self, names: Sequence[str] = ()) -> frozenset[str]:
        """Return the names of the workers that answer.

        Args:
            names: the node names of the workers; empty for all workers.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def read(connection: Any) -> frozenset[str]:
            timeout = _NAMED_TIMEOUT_SECONDS if names else CONTROL_TIMEOUT_SECONDS
            return frozenset(ask_workers(self._app, "ping", connection, timeout=timeout, names=names))

        return ask_broker(self._app, read)

    def stop(self, names: Sequence[str]) -> None:
        """Tell workers to stop once they have finished their current tasks; no worker confirms it.

        Args:
            names: the node names of the workers.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def tell(connection: Any) -> None:
            self._app.control.shutdown(destination=list(names), connection=connection)

        ask_broker(self._app, tell)


def _node(name: str, queues: object, facts: Mapping[str, Any]) -> Node:
    pool = mapping(facts.get("pool"))
    # Such as celery.concurrency.prefork:TaskPool.
    module = str(pool.get("implementation") or "").partition(":")[0].rpartition(".")[2]
    return Node(
        name=name,
        queues=queue_names(queues),
        pid=number(facts.get("pid")),
        pool=module or None,
        concurrency=number(pool.get("max-concurrency")),
        uptime_seconds=number(facts.get("uptime")),
    )
