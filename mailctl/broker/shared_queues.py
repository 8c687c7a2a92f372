"""Who else uses the queues of an app: messages for tasks that it does not have, workers with such tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.broker.inspector import BrokerInspector
from mailctl.broker.messages import quoted_name, summarize_tasks

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from celery import Celery

_CELERY_PREFIX = "celery."


@dataclass(frozen=True, kw_only=True)
class SharedQueue:
    """A queue that another app uses, too."""

    queue: str
    #: Of the messages that wait in it: the tasks that this app does not have, one for each message.
    tasks: tuple[str, ...] = ()
    #: Nodes that consume it and have tasks that this app does not have.
    workers: tuple[str, ...] = ()

    def __str__(self) -> str:
        facts = [f"messages of other apps wait in it, {summarize_tasks(self.tasks)}"] if self.tasks else []
        if self.workers:
            verb = "consumes" if len(self.workers) == 1 else "consume"
            facts.append(f"{', '.join(map(quoted_name, self.workers))} {verb} it, with tasks of another app")
        return f"queue {self.queue!r} is shared: {'; '.join(facts)}"


def find_foreign_messages(app: Celery, queues: Collection[str]) -> list[SharedQueue]:
    """Return the queues in which messages wait whose tasks the app does not have; only Redis lets one look.

    Raises:
        BrokerUnavailable: the broker does not answer.
    """
    broker = BrokerInspector(app)
    found = {} if broker.is_in_memory else broker.inspect_queues(queues)
    foreign = {
        queue: tuple(message.task for message in found[queue].messages or () if message.task not in app.tasks)
        for queue in queues
        if queue in found
    }
    return [SharedQueue(queue=queue, tasks=tasks) for queue, tasks in foreign.items() if tasks]


def find_foreign_workers(
    app: Celery, queues: Collection[str], nodes: Mapping[str, tuple[str, ...]]
) -> list[SharedQueue]:
    """Return the queues that workers of another app consume.

    Args:
        app: says which tasks are not those of another.
        queues: those that it uses.
        nodes: the queues that Celery workers consume, by node name.

    Raises:
        BrokerUnavailable: the broker does not answer.
    """
    known = set(app.tasks)
    suspects = [node for node, consumed in nodes.items() if not set(queues).isdisjoint(consumed)]
    tasks = BrokerInspector(app).tasks_by_worker(suspects) if suspects else {}
    others = [
        node
        for node in suspects
        if any(task not in known and not task.startswith(_CELERY_PREFIX) for task in tasks.get(node, ()))
    ]
    found = {queue: tuple(sorted(node for node in others if queue in nodes[node])) for queue in queues}
    return [SharedQueue(queue=queue, workers=workers) for queue, workers in found.items() if workers]
