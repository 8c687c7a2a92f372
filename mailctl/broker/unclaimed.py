"""Unclaimed messages: messages of other apps that none of their workers took.

A worker that receives a message of another app puts it back on its queue a few times. If nobody takes it, the
worker moves it to the queue `<queue>.unclaimed`, from which an operator can restore it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.broker.adapters import adapter_for
from mailctl.broker.connection import open_connection
from mailctl.broker.inspector import BrokerInspector
from mailctl.broker.messages import is_unclaimed_queue, unclaimed_queue
from mailctl.domain.shell_command import mailctl_command

if TYPE_CHECKING:
    from collections.abc import Collection

    from celery import Celery


class UnclaimedMessages:
    """Counts and restores the unclaimed messages of a broker.

    Args:
        app: any Celery app.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def counts(self, queues: Collection[str]) -> dict[str, int]:
        """Return how many unclaimed messages came from each queue, without the queues that have none.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        broker = BrokerInspector(self._app)
        if broker.is_in_memory:
            return {}
        names = {queue: unclaimed_queue(queue) for queue in queues if not is_unclaimed_queue(queue)}
        found = broker.ready_counts(names.values())
        return {queue: found[name] for queue, name in names.items() if found[name]}

    def restore(self, queue: str) -> int:
        """Put the unclaimed messages of a queue back on it, in order, and return their number.

        Messages that a worker moves to the unclaimed queue in the meantime stay there.

        Raises:
            BrokerUnavailable: the broker does not answer; messages that are already back stay there.
            NotFound: the broker has no such queue.
        """
        with open_connection(self._app) as connection:
            return adapter_for(connection).restore_unclaimed(queue)


def restore_command(queue: str) -> str:
    """Return the shell command that restores the unclaimed messages of a queue."""
    return str(mailctl_command("queue", "restore", arguments=[queue]))
