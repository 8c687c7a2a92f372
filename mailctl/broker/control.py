"""Remote control of Celery workers over the broker.

A worker that does not answer is not necessarily dead: it may be busy, or connected to another broker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mailctl.broker.connection import ask_broker
from mailctl.broker.inspector import CONTROL_TIMEOUT_SECONDS

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
            inspect = self._app.control.inspect(timeout=CONTROL_TIMEOUT_SECONDS, connection=connection)
            queues: Mapping[str, Any] = inspect.active_queues() or {}
            facts: Mapping[str, Any] = {}
            if queues:
                # These workers have just answered: the wait ends as soon as all have answered again.
                known = self._app.control.inspect(
                    destination=list(queues),
                    timeout=CONTROL_TIMEOUT_SECONDS,
                    connection=connection,
                    limit=len(queues),
                )
                facts = known.stats() or {}
            return {name: _node(name, found, facts.get(name) or {}) for name, found in queues.items()}

        return ask_broker(self._app, read)

    def ping(self, names: Sequence[str] = ()) -> frozenset[str]:
        """Return the names of the workers that answer.

        Args:
            names: the node names of the workers; empty for all workers.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

        def read(connection: Any) -> frozenset[str]:
            replies = self._app.control.ping(
                destination=list(names) or None,
                timeout=_NAMED_TIMEOUT_SECONDS if names else CONTROL_TIMEOUT_SECONDS,
                connection=connection,
                limit=len(names) or None,
            )
            return frozenset(name for reply in replies or () for name in reply)

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


def _node(name: str, queues: Any, facts: Mapping[str, Any]) -> Node:
    pool = facts.get("pool") or {}
    # Such as celery.concurrency.prefork:TaskPool.
    module = str(pool.get("implementation") or "").partition(":")[0].rpartition(".")[2]
    return Node(
        name=name,
        queues=tuple(str(queue["name"]) for queue in queues),
        pid=facts.get("pid"),
        pool=module or None,
        concurrency=pool.get("max-concurrency"),
        uptime_seconds=facts.get("uptime"),
    )
