"""A shared queue names the messages and the workers of other apps."""

from __future__ import annotations

from celery import Celery

from mailctl.broker.shared_queues import SharedQueue, find_foreign_messages, find_foreign_workers


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
