"""A consumer is restarted if it takes nothing although messages wait and the worker has a free process."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state

from mailctl.delivery_log.pauses import PauseScope
from mailctl.errors import BrokerUnavailable
from mailctl.worker.consumer_watch import (
    CHECK_SECONDS,
    STALL_SECONDS,
    CeleryConsumer,
    ConsumerStalled,
    ConsumerWatch,
)
from mailctl.worker.restarts import MAX_RESTARTS
from tests.unit.worker.fakes import Calls, Clock, parts

QUEUE = "celery"


class Site:
    """A consumer that takes nothing, and whatever else a test says."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.consumer: Any = Calls(activity=(0, 1), has_free_slot=True, queues=(QUEUE,))
        self.broker: Any = Calls(ready_counts={QUEUE: 7})
        self.circuits = Calls(read=None)
        self.pauses = Calls(read=())
        self.failures: list[str] = []
        runtime = parts(circuits=self.circuits, pauses=self.pauses)
        self.watch = ConsumerWatch(
            runtime,
            self.consumer,
            broker=self.broker,
            on_failed=self.failures.append,
            monotonic=self.clock,
        )

    def wait(self, seconds: float = STALL_SECONDS + 2 * CHECK_SECONDS) -> int:
        """Let some seconds pass; return how often the consumer was restarted in them."""
        before = self.restarts
        for _ in range(int(seconds / CHECK_SECONDS)):
            self.clock.now += CHECK_SECONDS
            self.watch.check()
        return self.restarts - before

    @property
    def restarts(self) -> int:
        return self.consumer.names.count("restart")


@pytest.fixture
def site() -> Site:
    """A consumer that has stalled."""
    return Site()


def test_a_stalled_consumer_is_restarted(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The log says so."""
    with caplog.at_level(logging.ERROR, logger="mailctl.relay"):
        assert site.wait() == 1
    assert caplog.messages == [
        "7 messages in queue 'celery' and a process free, but the consumer took none for 15 s; "
        "restarting the consumer (1 of 3 times in 10 minutes)"
    ]


def test_after_three_restarts_the_worker_gives_up(site: Site) -> None:
    """With the reason."""
    while site.restarts < MAX_RESTARTS:
        site.wait(CHECK_SECONDS)
    assert (site.restarts, site.failures) == (MAX_RESTARTS, [])
    site.wait()
    assert site.restarts == MAX_RESTARTS
    assert "again, after it was restarted 3 of 3 times in 10 minutes" in site.failures[0]


def _takes_messages(site: Site) -> None:
    site.consumer.answers["activity"] = [(n, 1) for n in range(100)]


def _is_busy(site: Site) -> None:
    site.consumer.answers["has_free_slot"] = False


def _has_nothing_to_take(site: Site) -> None:
    site.broker.answers["ready_counts"] = {QUEUE: 0}


def _has_no_broker(site: Site) -> None:
    site.broker.answers["ready_counts"] = BrokerUnavailable("It does not answer.", fix="Start it.")


def _has_an_open_circuit(site: Site) -> None:
    site.circuits.answers["read"] = SimpleNamespace(is_open=True)


def _is_paused(site: Site) -> None:
    site.pauses.answers["read"] = (SimpleNamespace(scope=PauseScope.QUEUE, name=QUEUE),)
    site.broker.ready_counts = lambda queues: dict.fromkeys(queues, 7)


@pytest.mark.parametrize(
    "excuse",
    [_takes_messages, _is_busy, _has_nothing_to_take, _has_no_broker, _has_an_open_circuit, _is_paused],
)
def test_a_consumer_that_has_not_stalled_is_left_alone(site: Site, excuse: Any) -> None:
    """However long."""
    excuse(site)
    assert site.wait(10 * STALL_SECONDS) == 0


def test_the_broker_is_asked_only_while_nothing_happens(site: Site) -> None:
    """Each question costs a connection."""
    _takes_messages(site)
    site.wait()
    assert site.broker.calls == []


@pytest.mark.parametrize("stop", [None, 0])
def test_a_worker_that_ends_meanwhile_is_not_restarted(
    monkeypatch: pytest.MonkeyPatch, stop: int | None
) -> None:
    """Its event loop calls what is left when it is closed."""
    calls: list[Any] = []
    CeleryConsumer(SimpleNamespace(consumer=SimpleNamespace(call_soon=calls.append))).restart()
    monkeypatch.setattr(state, "should_stop", stop)
    [restart] = calls
    if stop is None:
        with pytest.raises(ConsumerStalled):
            restart()
    else:
        restart()
