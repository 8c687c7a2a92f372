"""The requeuer holds messages of other apps while the log or the broker fails; fakes stand for both."""

from __future__ import annotations

import queue
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from amqp.exceptions import MessageNacked

from mailctl.errors import LogUnavailable
from mailctl.worker.foreign_messages.held_messages import DelayedMessage
from mailctl.worker.foreign_messages.message import read_foreign_message
from mailctl.worker.foreign_messages.requeuer import MessageRequeuer
from mailctl.worker.foreign_messages.schedule import RequeueSchedule

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

PATIENCE = 60.0
RAW = {"headers": {"id": "a1", "task": "warehouse.ship"}, "body": "W10="}


class Log:
    """Counts requeues; the next `failures` questions fail."""

    def __init__(self) -> None:
        self.failures = 0
        self.counts: dict[str, int] = {}

    def requeue_counts(self, digests: Collection[str]) -> dict[str, int]:
        self._fail()
        return {digest: self.counts[digest] for digest in digests if digest in self.counts}

    def record_requeues(self, digests: Collection[str]) -> None:
        for digest in digests:
            self.counts[digest] = self.counts.get(digest, 0) + 1

    def forget(self, digests: Collection[str]) -> None:
        for digest in digests:
            self.counts.pop(digest, None)

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("the log does not answer.")


class Broker:
    """Accepts copies; the next `failures` batches fail."""

    def __init__(self) -> None:
        self.failures = 0
        self.copies: deque[str] = deque()
        self.refused: str | None = None
        #: The number of messages of the next batch that it rejects.
        self.nacked = 0
        #: The depth of the queue.
        self.ready = 0
        self.round_trips = 0
        self.questions = 0

    def copy_all(self, messages: Sequence[Any], target: str) -> list[Exception | None]:
        self.round_trips += 1
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the broker does not answer")
        errors: list[Exception | None] = [None] * len(messages)
        for number in range(len(messages) - self.nacked, len(messages)):
            errors[number] = MessageNacked()
        self.nacked = 0
        tasks = [each.task for each in messages]
        if self.refused in tasks:  # which closes the channel
            first = tasks.index(self.refused)
            errors[first:] = [ValueError("the broker refuses this message")] * (len(messages) - first)
        self.copies += [target] * errors.count(None)
        return errors

    def depth(self, queue: str) -> int:
        self.questions += 1
        return self.ready

    def close(self) -> None:
        """Do nothing."""


class Bench:
    """A requeuer between a log and a broker, with a consumer's thread in which nothing else runs."""

    def __init__(self, *, is_started: bool = True, **schedule: Any) -> None:
        self.log, self.broker = Log(), Broker()
        self.acknowledged: list[str] = []
        self.released = 0
        self._soon: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.requeuer = MessageRequeuer(
            self.log,  # type: ignore[arg-type]
            copier=self.broker,  # type: ignore[arg-type]
            depth=self.broker.depth,
            call_soon=self._soon.put,
            connection_errors=(ConnectionError,),
            acknowledge=lambda foreign: self.acknowledged.append(foreign.digest),
            schedule=RequeueSchedule(**schedule),
            on_tick=lambda: None,
        )
        if is_started:
            self.requeuer.start()

    def hold(self, *, raw: dict[str, Any] = RAW, overflow: bool = False, task: str = "warehouse.ship") -> str:
        """Let it hold a message, and return the digest."""
        message = SimpleNamespace(channel=None)
        foreign = read_foreign_message(message, raw, task=task, queue="celery")
        delayed = DelayedMessage(foreign=foreign, release_slot=self._release, is_overflow=overflow)
        self.requeuer.add(delayed)
        return foreign.digest

    def run_until(self, is_done: Callable[[], bool]) -> None:
        """Call what the requeuer schedules in the consumer's thread."""
        while not is_done():
            self._soon.get(timeout=PATIENCE)()

    def _release(self) -> None:
        self.released += 1


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A requeuer without delays."""
    bench = Bench(delays=(0.0, 0.0))
    yield bench
    bench.requeuer.stop()


def test_a_message_is_requeued_by_the_schedule_and_then_moved_aside(bench: Bench) -> None:
    """Each time it is acknowledged after it has a copy, and its slot is released."""
    for count in range(1, 4):
        bench.hold()
        bench.run_until(lambda count=count: bench.released == count)  # type: ignore[misc]
    assert list(bench.broker.copies) == ["celery", "celery", "celery.unclaimed"]
    assert len(bench.acknowledged) == 3
    assert bench.log.counts == {}


def test_nothing_is_acknowledged_while_the_log_or_the_broker_fails(bench: Bench) -> None:
    """No requeue is counted twice."""
    bench.log.failures = bench.broker.failures = 1
    digest = bench.hold()
    bench.run_until(lambda: bool(bench.acknowledged))
    assert (bench.log.failures, bench.broker.failures) == (0, 0)
    assert (list(bench.broker.copies), bench.log.counts) == (["celery"], {digest: 1})


def test_a_message_that_the_broker_refuses_does_not_block_others(bench: Bench) -> None:
    """It stays unacknowledged."""
    bench.broker.refused = "warehouse.bad"
    bench.hold(task="warehouse.bad")
    good = [bench.hold(raw={**RAW, "body": body}) for body in ("a", "b")]
    bench.run_until(lambda: len(bench.acknowledged) == len(good))
    assert sorted(bench.acknowledged) == sorted(good)


def test_overflow_messages_are_requeued_without_a_count() -> None:
    """The limits are a number of messages and a number of bytes."""
    bench = Bench(delays=(PATIENCE,), max_messages=2, max_bytes=1000)
    bench.hold()
    assert not bench.requeuer.is_full
    bench.hold(raw={**RAW, "body": "x" * 2000})
    assert bench.requeuer.is_full
    bench.hold(overflow=True)
    bench.run_until(lambda: bench.released == 1)
    assert (list(bench.broker.copies), bench.log.counts) == (["celery"], {})
    assert len(bench.requeuer.stop()) == 2


def test_copies_are_confirmed_together() -> None:
    """A message that the broker rejects is copied again."""
    bench = Bench(is_started=False, delays=(PATIENCE,), max_messages=0)
    bench.broker.ready, bench.broker.nacked = 1000, 2
    for number in range(50):
        bench.hold(raw={**RAW, "body": str(number)}, overflow=True)
    bench.requeuer.start()
    bench.run_until(lambda: bench.released == 48)
    assert bench.broker.round_trips == 1
    bench.run_until(lambda: bench.released == 50)
    assert (len(bench.acknowledged), bench.broker.round_trips, bench.broker.questions) == (50, 2, 1)
    assert bench.requeuer.stop() == []
