"""Remote control: what can be asked of living Celery workers, and told to them, over the broker.

Silence is not death: a worker that gives no answer may be busy, or this host may not reach its broker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mailctl.broker.inspector import CONTROL_TIMEOUT_SECONDS, ask_broker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celery import Celery

#: Seconds for which workers are given to answer who were called by name: the wait ends when all have.
_NAMED_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Node:
    """A Celery worker that has answered."""

    name: str
    queues: tuple[str, ...]
    pid: int | None
    pool: str | None
    concurrency: int | None
    #: Seconds that it has been running.
    uptime_seconds: int | None


class RemoteControl:
    """Talks with the Celery workers of an app.

    Args:
        app: whose broker the workers listen on.
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
                # Those that have just answered do so again, and need not be waited for when they have.
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
            names: whom to ask; everybody if it is empty.

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
        """Tell workers to stop when they have finished what they have in hand; nobody answers that.

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
