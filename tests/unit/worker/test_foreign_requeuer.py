"""Keeping messages of other apps while the log or the broker is away; parts of the test stand for both."""

from __future__ import annotations

import queue
import tracemalloc
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from amqp.exceptions import MessageNacked

from mailctl.errors import LogUnavailable
from mailctl.worker.foreign.message import read_foreign_message
from mailctl.worker.foreign.pace import PAUSE_SECONDS, Pace
from mailctl.worker.foreign.requeuer import DelayedMessage, MessageRequeuer, RequeueSchedule

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

PATIENCE = 60.0
RAW = {"headers": {"id": "a1", "task": "warehouse.ship"}, "body": "W10="}


class Log:
    """Counts rounds; fails as often as it is told."""

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
            raise LogUnavailable("the log is away.")


class Broker:
    """Takes copies; fails as often as it is told."""

    def __init__(self) -> None:
        self.failures = 0
        self.copies: deque[str] = deque()
        self.refused: str | None = None
        #: How many messages of the next batch it does not take.
        self.nacked = 0
        #: What the queue has.
        self.ready = 0
        self.round_trips = 0
        self.questions = 0

    def copy_all(self, messages: Sequence[Any], target: str) -> list[Exception | None]:
        self.round_trips += 1
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the broker is away")
        errors: list[Exception | None] = [None] * len(messages)
        for number in range(len(messages) - self.nacked, len(messages)):
            errors[number] = MessageNacked()
        self.nacked = 0
        tasks = [each.task for each in messages]
        if self.refused in tasks:  # which ends the channel
            first = tasks.index(self.refused)
            errors[first:] = [ValueError("the broker does not take this")] * (len(messages) - first)
        self.copies += [target] * errors.count(None)
        return errors

    def depth(self, queue: str) -> int:
        self.questions += 1
        return self.ready

    def close(self) -> None:
        """There is nothing to close."""


class Bench:
    """A keeper between a log and a broker, in whose thread nothing else runs."""

    def __init__(self, *, is_started: bool = True, **schedule: Any) -> None:
        self.log, self.broker = Log(), Broker()
        self.acknowledged: list[str] = []
        self.released = 0
        self._soon: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.keeper = MessageRequeuer(
            self.log,  # type: ignore[arg-type]
            copier=self.broker,  # type: ignore[arg-type]
            depth=self.broker.depth,
            run_soon=self._soon.put,
            connection_errors=(ConnectionError,),
            acknowledge=lambda foreign: self.acknowledged.append(foreign.digest),
            schedule=RequeueSchedule(**schedule),
            each_turn=lambda: None,
        )
        if is_started:
            self.keeper.start()

    def take(self, *, raw: dict[str, Any] = RAW, counts: bool = True, task: str = "warehouse.ship") -> str:
        """Let it keep a message; return the digest."""
        message = SimpleNamespace(channel=None)
        foreign = read_foreign_message(message, raw, task=task, queue="celery")
        self.keeper.add(DelayedMessage(foreign=foreign, release_slot=self._release, counts_as_round=counts))
        return foreign.digest

    def run_until(self, is_done: Callable[[], bool]) -> None:
        """Do what the keeper wants done in the thread that receives messages."""
        while not is_done():
            self._soon.get(timeout=PATIENCE)()

    def _release(self) -> None:
        self.released += 1


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A keeper that waits for no time worth speaking of."""
    bench = Bench(delays=(0.0, 0.0))
    yield bench
    bench.keeper.stop()


def test_a_message_goes_back_as_often_as_the_schedule_says_and_then_aside(bench: Bench) -> None:
    """Each time it is acknowledged when its copy is safe, and its place is given to another."""
    for turn in range(1, 4):
        bench.take()
        bench.run_until(lambda turn=turn: bench.released == turn)  # type: ignore[misc]
    assert list(bench.broker.copies) == ["celery", "celery", "celery.unclaimed"]
    assert len(bench.acknowledged) == 3
    assert bench.log.counts == {}


def test_nothing_is_acknowledged_while_the_log_or_the_broker_is_away(bench: Bench) -> None:
    """And nothing is counted twice because of that."""
    bench.log.failures = bench.broker.failures = 1
    digest = bench.take()
    bench.run_until(lambda: bool(bench.acknowledged))
    assert (bench.log.failures, bench.broker.failures) == (0, 0)
    assert (list(bench.broker.copies), bench.log.counts) == (["celery"], {digest: 1})


def test_a_message_that_the_broker_refuses_holds_up_no_other(bench: Bench) -> None:
    """It stays with the worker, and so on the broker."""
    bench.broker.refused = "warehouse.bad"
    bench.take(task="warehouse.bad")
    good = [bench.take(raw={**RAW, "body": body}) for body in ("a", "b")]
    bench.run_until(lambda: len(bench.acknowledged) == len(good))
    assert sorted(bench.acknowledged) == sorted(good)


def test_what_is_kept_is_bounded_and_the_rest_goes_back_without_a_round() -> None:
    """By number and by bytes."""
    bench = Bench(delays=(PATIENCE,), max_messages=2, max_bytes=1000)
    bench.take()
    assert not bench.keeper.is_full
    bench.take(raw={**RAW, "body": "x" * 2000})
    assert bench.keeper.is_full
    bench.take(counts=False)
    bench.run_until(lambda: bench.released == 1)
    assert (list(bench.broker.copies), bench.log.counts) == (["celery"], {})
    assert len(bench.keeper.stop()) == 2


def test_copies_are_confirmed_together() -> None:
    """What the broker has not taken of a batch stays with the worker, and is tried again."""
    bench = Bench(is_started=False, delays=(PATIENCE,), max_messages=0)
    bench.broker.ready, bench.broker.nacked = 1000, 2
    for number in range(50):
        bench.take(raw={**RAW, "body": str(number)}, counts=False)
    bench.keeper.start()
    bench.run_until(lambda: bench.released == 48)
    assert bench.broker.round_trips == 1
    bench.run_until(lambda: bench.released == 50)
    assert (len(bench.acknowledged), bench.broker.round_trips, bench.broker.questions) == (50, 2, 1)
    assert bench.keeper.stop() == []


def test_what_is_too_much_passes_without_a_pause_once_through_the_queue() -> None:
    """Only then there is one; each queue has its own, and is asked for its depth once a pass."""
    depths: list[str] = []

    def depth(queue: str) -> int:
        depths.append(queue)
        return 2999

    pace = Pace(depth)
    assert {pace.due("celery", now=100.0) for _ in range(3000)} == {100.0}
    assert {pace.due("celery", now=103.0) for _ in range(3000)} == {103.0 + PAUSE_SECONDS}
    assert pace.due("celery", now=103.5) == 103.0 + 2 * PAUSE_SECONDS
    assert pace.due("other", now=103.5) == 103.5
    assert depths == ["celery", "celery", "celery", "other"]


def test_a_message_is_known_again_whoever_delivers_it() -> None:
    """What brokers add when they deliver it again does not count; all else tells it from others."""
    headers = RAW["headers"]
    again = {**RAW, "headers": {**headers, "redelivered": True, "x-delivery-count": 2}}  # type: ignore[dict-item]
    retried = {**RAW, "headers": {**headers, "retries": 1}}  # type: ignore[dict-item]

    def digest(raw: dict[str, Any], of: str = "celery") -> str:
        return read_foreign_message(SimpleNamespace(channel=None), raw, task="t", queue=of).digest

    assert digest(RAW) == digest(again)
    assert len({digest(RAW), digest(retried), digest({**RAW, "body": "W11d"}), digest(RAW, "other")}) == 4


def test_headers_of_any_kind_tell_a_message_from_others() -> None:
    """Those that are no text, too; under which name a copy has them does not count."""

    def digest(**headers: Any) -> str:
        return read_foreign_message(
            SimpleNamespace(channel=None), {**RAW, "headers": headers}, task="t", queue="celery"
        ).digest

    def mixed(value: Any) -> str:
        raw = {**RAW, "headers": {b"caf\xe9": value, "x": 1}}
        return read_foreign_message(SimpleNamespace(channel=None), raw, task="t", queue="celery").digest

    assert mixed("a") == mixed("a") != mixed("b")
    assert digest(CC=["a"], x=1) == digest(mailctl_cc=["a"], x=1) != digest(CC=["a"], x=2)


@pytest.mark.parametrize("body", ["ß" * 2**24, b"x" * 2**25], ids=["text", "octets"])
def test_a_large_body_is_not_copied(body: str | bytes) -> None:
    """To know it again, its octets are looked at piece by piece."""
    tracemalloc.start()
    known = read_foreign_message(
        SimpleNamespace(channel=None), {**RAW, "body": body}, task="t", queue="celery"
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert known.size == 2**25
    assert peak < 2**23
