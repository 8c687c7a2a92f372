"""Whether all workers have said which tasks they have; a busy one without pool processes is silent."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from kombu import Connection, Consumer, Exchange, Queue

from mailctl.broker.inspector import BrokerInspector

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def busy_worker(url: str) -> Iterator[None]:
    """Subscribe to a queue and to remote control as a worker does, and answer nothing."""
    exchange = Exchange("celery.pidbox", type="fanout", durable=False)
    mailbox = Queue("busy.celery.pidbox", exchange, durable=False, auto_delete=True)
    queues = [mailbox, Queue("celery")]
    with Connection(url) as connection, Consumer(connection.channel(), queues, on_message=print):
        with suppress(TimeoutError):  # Redis confirms the subscription, and RabbitMQ has confirmed it
            connection.drain_events(timeout=1)
        yield


@pytest.mark.parametrize("broker", ["redis_url", "rabbit_url"])
def test_the_answers_are_complete_only_without_a_worker_that_is_busy(
    broker: str, request: pytest.FixtureRequest
) -> None:
    """Its task may be the one that is asked for."""
    url = str(request.getfixturevalue(broker))
    with Celery("shop", broker=url, set_as_current=False) as app:
        inspector = BrokerInspector(app)
        with busy_worker(url):
            assert not inspector.tasks_in_hand(["a"], queues=["celery"]).is_complete
        assert inspector.tasks_in_hand(["a"], queues=["celery"]).is_complete
