"""The soft time limit of a task takes effect at the end of what must not be interrupted."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from billiard.pool import soft_timeout_sighandler

from mailctl.worker.soft_time_limit import (
    NO_LIMIT,
    SoftTimeLimit,
    current_limit,
    soft_time_limit_deferred,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _pool_process() -> Iterator[None]:
    """Handle the signal as a process of Celery's pool does."""
    before = signal.signal(signal.SIGUSR1, soft_timeout_sighandler)
    yield
    signal.signal(signal.SIGUSR1, before)


def reach_limit(*_: object) -> None:
    """Send what the worker sends when the limit is reached."""
    signal.raise_signal(signal.SIGUSR1)


def run(*steps: Callable[[SoftTimeLimit], object]) -> None:
    """Do what must not be interrupted."""
    with soft_time_limit_deferred() as limit:
        for step in steps:
            step(limit)


def test_a_block_is_finished_first() -> None:
    """After that, the limit ends the task; and the next one at once again."""
    done: list[bool] = []
    with pytest.raises(SoftTimeLimitExceeded):
        run(reach_limit, lambda limit: done.append(limit.is_reached))
    assert done == [True]
    with pytest.raises(SoftTimeLimitExceeded):
        reach_limit()


def test_a_block_within_a_block_is_part_of_it() -> None:
    """The delivery of a message is one step, which consists of several."""
    done: list[bool] = []
    with pytest.raises(SoftTimeLimitExceeded):
        run(lambda _: run(reach_limit), lambda limit: done.append(limit is current_limit()))
    assert done == [True]
    assert current_limit() is NO_LIMIT


def test_an_error_of_the_block_comes_first() -> None:
    """Such as that of a log that does not answer, by which the message returns to the broker."""
    with pytest.raises(KeyError):
        run(reach_limit, lambda _: {}["missing"])


def test_what_takes_long_is_told() -> None:
    """Once, whether it is begun before the limit is reached or after."""
    told: list[str] = []
    with pytest.raises(SoftTimeLimitExceeded):
        run(
            lambda limit: limit.on_reached(lambda: told.append("before")),
            reach_limit,
            reach_limit,
            lambda limit: limit.on_reached(lambda: told.append("after")),
        )
    assert told == ["before", "after"]


def test_other_threads_have_no_limit() -> None:
    """Python handles signals in the main thread alone."""
    found: list[object] = []

    def look(_: object) -> None:
        thread = threading.Thread(target=run, args=(found.append,))
        thread.start()
        thread.join()

    run(look)
    assert found == [NO_LIMIT]


def test_other_handlers_of_the_signal_stay() -> None:
    """In the main process of a worker, Celery uses the same signal to log what it is doing."""
    seen: list[str] = []
    signal.signal(signal.SIGUSR1, lambda *_: seen.append("handled"))
    with soft_time_limit_deferred() as limit:
        reach_limit()
    assert (seen, limit.is_reached) == (["handled"], False)
