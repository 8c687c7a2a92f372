"""A shared queue names the messages and the workers of other apps."""

from __future__ import annotations

from typing import Any, cast

from celery import Celery

from mailctl.broker.messages import BATCH_TASK
from mailctl.broker.shared_queues import (
    MailctlWorker,
    SharedQueue,
    find_foreign_messages,
    find_foreign_workers,
    find_mailctl_workers,
)


def test_messages_are_summarized_by_task() -> None:
    """Names are quoted."""
    shared = SharedQueue(queue="celery", tasks=("shop.pay", "shop.pay"))
    assert str(shared) == "queue 'celery' is shared: messages of other apps wait in it, 2 for 'shop.pay' x2"


def test_workers_are_named() -> None:
    """In the singular and in the plural."""
    one = SharedQueue(queue="celery", workers=("shop@host",))
    two = SharedQueue(queue="celery", tasks=("shop.pay",), workers=("a@host", "b@host"))
    assert str(one) == "queue 'celery' is shared: 'shop@host' consumes it, with tasks of another app"
    assert str(two).endswith("1 for 'shop.pay'; 'a@host', 'b@host' consume it, with tasks of another app")


def test_a_broker_in_memory_is_not_shared() -> None:
    """Nor is a queue that no other worker consumes."""
    app = Celery("alone", broker="memory://", set_as_current=False)
    assert find_foreign_messages(app, ["celery"]) == []
    assert find_foreign_workers(app, ["celery"], {"shop@host": ("reports",)}) == []


def test_workers_of_mailctl_are_known_by_their_tasks() -> None:
    """Only those on one of the queues are asked; they tell the fingerprints of their keys."""

    class Broker:
        def tasks_by_worker(self, nodes: Any) -> dict[str, frozenset[str]]:
            assert sorted(nodes) == ["mail@b", "shop@a"]
            return {"mail@b": frozenset({BATCH_TASK}), "shop@a": frozenset({"shop.pay"})}

        def task_attributes(self, nodes: Any, *, task: str, attribute: str) -> dict[str, str]:
            assert (nodes, task, attribute) == (["mail@b"], BATCH_TASK, "mailctl_keys")
            return {"mail@b": "new,old"}

    nodes = {"shop@a": ("celery",), "mail@b": ("other", "mailctl.bulk"), "far@c": ("reports",)}
    found = find_mailctl_workers(cast("Any", Broker()), ["celery", "mailctl.bulk"], nodes)
    assert found == [MailctlWorker(name="mail@b", queues=("mailctl.bulk",), keys=("new", "old"))]
