"""A worker counts as drained after a moment without work."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mailctl.broker.inspector import MessageCounts
from mailctl.errors import ExitCode
from mailctl.worker.drain import DrainWatch
from tests.unit.worker.fakes import Broker, Calls, Clock, parts


class Worker:
    """A draining worker of which a test decides what is left."""

    def __init__(self) -> None:
        self.clock, self.broker = Clock(), Broker()
        self.is_busy = False
        self.backlog = SimpleNamespace(ready=0)
        self.codes: list[ExitCode] = []
        self.watch = DrainWatch(
            parts(history=Calls(backlog=self.backlog)),
            broker=self.broker,  # type: ignore[arg-type]
            queues=["celery"],
            is_busy=lambda: self.is_busy,
            on_drained=self.codes.append,
            monotonic=self.clock,
        )

    def check_after(self, seconds: float) -> int:
        """Check after some seconds, and return how often the worker was drained."""
        self.clock.now += seconds
        self.watch.check()
        return len(self.codes)

    def fail_after(self, seconds: float) -> list[ExitCode]:
        """Let the log fail after some seconds, and return the exit codes with which the worker ended."""
        self.clock.now += seconds
        self.watch.note_outage()
        return self.codes


def test_a_worker_without_work_is_drained_once() -> None:
    """After a moment, because a task may be about to publish another."""
    worker = Worker()
    assert [worker.check_after(seconds) for seconds in (0.3, 0.2, 10.0)] == [0, 1, 1]
    assert worker.codes == [ExitCode.DONE]


def test_a_log_that_fails_for_long_ends_a_worker_without_tasks() -> None:
    """Its work is not done; an outage of seconds is waited out."""
    worker = Worker()
    assert [*worker.fail_after(1), *worker.fail_after(29)] == []
    worker.watch.note_works()
    assert [*worker.fail_after(2), *worker.fail_after(29)] == []
    assert worker.fail_after(2) == [ExitCode.UNAVAILABLE]


def test_a_task_that_waits_to_record_its_outcome_is_not_left_alone() -> None:
    """The email may have been sent."""
    worker = Worker()
    worker.is_busy = True
    assert [worker.fail_after(60) for _ in range(3)] == [[], [], []]


@pytest.mark.parametrize("left", ["a task", "an email", "a message"])
def test_work_that_is_left_keeps_a_worker_alive(left: str) -> None:
    """Then the moment without work starts again."""
    worker = Worker()
    worker.is_busy = left == "a task"
    worker.backlog.ready = int(left == "an email")
    worker.broker.depths = {"celery": MessageCounts(ready=int(left == "a message"), unacked=0)}
    assert worker.check_after(10.0) == 0
    worker.is_busy, worker.backlog.ready, worker.broker.depths = False, 0, {}
    assert [worker.check_after(seconds) for seconds in (0.3, 0.2)] == [0, 1]
