"""Queues that an app shares with other apps: their messages in them, and their workers on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.broker.inspector import BrokerInspector
from mailctl.broker.messages import BATCH_TASK, quoted_name, summarize_tasks

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from celery import Celery

_CELERY_PREFIX = "celery."
#: The task attribute with the fingerprints of a worker's secret keys; Celery's remote control reports task
#: attributes.
KEYS_ATTRIBUTE = "mailctl_keys"


@dataclass(frozen=True, kw_only=True)
class SharedQueue:
    """A queue that another app uses as well."""

    queue: str
    #: The task name of each waiting message of another app.
    tasks: tuple[str, ...] = ()
    #: The node names of the workers of other apps that consume the queue.
    workers: tuple[str, ...] = ()

    def __str__(self) -> str:
        facts = [f"messages of other apps wait in it, {summarize_tasks(self.tasks)}"] if self.tasks else []
        if self.workers:
            verb = "consumes" if len(self.workers) == 1 else "consume"
            facts.append(f"{', '.join(map(quoted_name, self.workers))} {verb} it, with tasks of another app")
        return f"queue {self.queue!r} is shared: {'; '.join(facts)}"


def find_foreign_messages(app: Celery, queues: Collection[str]) -> list[SharedQueue]:
    """Return the queues that hold messages of other apps; only Redis shows what is in a queue.

    Args:
        app: the app; a message for a task that it does not have belongs to another app.
        queues: the names of the queues.

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
    """Return the queues that workers of other apps consume.

    Args:
        app: the app; a worker with a task that it does not have belongs to another app.
        queues: the names of the queues.
        nodes: the queues that each Celery worker consumes, by node name.

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


def find_discarding_workers(
    broker: BrokerInspector, tasks: Mapping[str, Collection[str]], nodes: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return the tasks of emails that workers do not have, by node name: they discard messages for them.

    Args:
        broker: asks the workers.
        tasks: the names of the tasks that are published to each queue.
        nodes: the queues that each Celery worker consumes, by node name.

    Raises:
        BrokerUnavailable: the broker does not answer.
    """
    suspects = [node for node, consumed in nodes.items() if not tasks.keys().isdisjoint(consumed)]
    registered = broker.tasks_by_worker(suspects) if suspects else {}
    missing = {
        node: sorted({task for queue in nodes[node] for task in tasks.get(queue, ())} - names)
        for node, names in sorted(registered.items())
        if node in nodes
    }
    return {node: tuple(names) for node, names in missing.items() if names}


@dataclass(frozen=True, kw_only=True)
class MailctlWorker:
    """A worker of mailctl that answers on the broker."""

    name: str
    #: The queues of emails that it consumes.
    queues: tuple[str, ...]
    #: The fingerprints of its secret keys, the newest first; empty if it does not report them.
    keys: tuple[str, ...] = ()


def find_mailctl_workers(
    broker: BrokerInspector, queues: Collection[str], nodes: Mapping[str, tuple[str, ...]]
) -> list[MailctlWorker]:
    """Return the workers of mailctl that consume some of these queues.

    Args:
        broker: asks the workers.
        queues: the names of the queues.
        nodes: the queues that each Celery worker consumes, by node name.

    Raises:
        BrokerUnavailable: the broker does not answer.
    """
    shared = {node: tuple(sorted({*consumed} & {*queues})) for node, consumed in nodes.items()}
    suspects = [node for node, common in shared.items() if common]
    registered = broker.tasks_by_worker(suspects) if suspects else {}
    found = [node for node in sorted(suspects) if BATCH_TASK in registered.get(node, ())]
    keys = broker.task_attributes(found, task=BATCH_TASK, attribute=KEYS_ATTRIBUTE) if found else {}
    return [
        MailctlWorker(name=node, queues=shared[node], keys=tuple(filter(None, keys.get(node, "").split(","))))
        for node in found
    ]


def expose_key_fingerprints(app: Celery, keys: Sequence[str]) -> None:
    """Let the workers of an app report the fingerprints of their secret keys through remote control.

    Args:
        app: the app of the worker.
        keys: the fingerprints, the newest first.
    """
    setattr(app.tasks[BATCH_TASK], KEYS_ATTRIBUTE, ",".join(keys))
