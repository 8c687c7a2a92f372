"""After a refusal a worker waits before it connects again, longer each time."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import pytest
from amqp.exceptions import PreconditionFailed
from celery.exceptions import CPendingDeprecationWarning
from redis.exceptions import ResponseError

from mailctl.worker.broker_refusals import RefusalPauses, RefusedByBroker, reconnect_after_refusals

WRONG_TYPE = ResponseError("WRONGTYPE Operation against a key")


class Worker:
    """Records what a worker waits for, and with which errors it connects again."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.errors: list[Exception] = []
        self.now = 0.0
        self.pauses = RefusalPauses(self._wait, lambda: self.now)

    def lose(self, error: Exception, *, after: float = 1.0) -> None:
        """Lose the connection some seconds after it was made."""
        self.now += after
        self.pauses.pause(self._reconnect, error)

    def _wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds

    def _reconnect(self, error: Exception) -> None:
        self.errors.append(error)
        warnings.warn("about cancelled tasks", CPendingDeprecationWarning, stacklevel=1)


def test_each_pause_is_longer_up_to_a_limit() -> None:
    """Until a minute without a refusal has passed."""
    worker = Worker()
    for _ in range(6):
        worker.lose(WRONG_TYPE)
    worker.lose(WRONG_TYPE, after=61)
    assert worker.waited == [1, 2, 4, 8, 10, 10, 1]


@pytest.mark.parametrize("error", [ConnectionResetError(), OSError("gone")])
def test_a_lost_connection_costs_no_pause(error: Exception) -> None:
    """Celery waits by itself if the broker does not answer."""
    worker = Worker()
    worker.lose(error)
    assert (worker.waited, worker.errors) == ([], [error])


def test_a_refusal_is_told_without_the_command(caplog: pytest.LogCaptureFixture) -> None:
    """Neither mailctl nor Celery, which logs the error, quotes a message."""
    worker = Worker()
    quoted = "Command # 2 (HSET unacked x [{secret) of pipeline caused error: WRONGTYPE Operation"
    worker.lose(ResponseError(quoted))
    [error] = worker.errors
    assert isinstance(error, RefusedByBroker)
    assert str(error) == "WRONGTYPE Operation"
    [line] = caplog.messages
    assert line == (
        "the broker refuses a request of this worker: WRONGTYPE Operation. "
        "Check the memory, the role, the keys and the database number of this Redis server; a node of Redis "
        "Cluster cannot be used. Trying again in 1 s."
    )


def test_what_rabbitmq_refuses_comes_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    """As in the commands."""
    Worker().lose(PreconditionFailed("inequivalent arg 'durable'", (50, 10), "Queue.declare"))
    [line] = caplog.messages
    assert "inequivalent arg 'durable'" in line
    assert "Compare the properties" in line


def test_a_consumer_survives_both_kinds_of_failed_connection() -> None:
    """Celery takes a refusal for a lost connection, before and after it has connected."""
    seen: list[Any] = []
    consumer = SimpleNamespace(
        app=SimpleNamespace(conf=SimpleNamespace(broker_channel_error_retry=False)),
        on_connection_error_after_connected=seen.append,
        on_connection_error_before_connected=seen.append,
    )
    reconnect_after_refusals(consumer)
    error = OSError()
    consumer.on_connection_error_after_connected(error)
    consumer.on_connection_error_before_connected(error)
    assert consumer.app.conf.broker_channel_error_retry
    assert seen == [error, error]
