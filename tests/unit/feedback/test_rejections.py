"""What is refused is counted, and a flood of it costs nothing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from mailctl import runtime
from mailctl.delivery_log.reports import FeedbackResult
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import feedback_counts
from mailctl.feedback.rejections import RejectionCounter
from mailctl.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_refusals_are_counted(tmp_path: Path) -> None:
    """Whatever comes in one second is one transaction; what is left is written when the process ends."""
    settings = Settings(MAILCTL_HOME=tmp_path)
    parts = runtime.Runtime(settings)
    counter = RejectionCounter(parts, interval=3600)
    parts.on_close(counter.close)

    for _ in range(100):
        counter.add("postmark", FeedbackResult.FORGED)
    first = [(each.result, each.count) for each in parts.feedback_counts.read()]
    parts.close()

    reopened = runtime.Runtime(settings)
    last = [(each.result, each.count) for each in reopened.feedback_counts.read()]
    reopened.close()
    assert (first, last) == ([(FeedbackResult.FORGED, 1)], [(FeedbackResult.FORGED, 100)])


def test_what_nothing_follows_is_counted_too(tmp_path: Path) -> None:
    """A second later, and not with the next refusal, which may never come."""
    parts = runtime.Runtime(Settings(MAILCTL_HOME=tmp_path))
    counter = RejectionCounter(parts, interval=0.05)
    for _ in range(3):
        counter.add("postmark", FeedbackResult.OVERSIZED)
    wait_for_count(parts, 3)
    counter.close()
    parts.close()


def wait_for_count(parts: runtime.Runtime, expected: int) -> None:
    """Wait until the log has a count."""
    for _ in range(600):
        if [each.count for each in parts.feedback_counts.read()] == [expected]:
            return
        threading.Event().wait(0.1)
    pytest.fail("it is not counted")


def test_while_the_log_is_down_it_is_kept(tmp_path: Path) -> None:
    """And said once, when it is counted."""
    parts = runtime.Runtime(Settings(MAILCTL_HOME=tmp_path))
    counter = RejectionCounter(parts, interval=3600)
    with writing(parts.engine) as connection:
        feedback_counts.drop(connection)
    counter.add("postmark", FeedbackResult.FORGED)
    with writing(parts.engine) as connection:
        feedback_counts.create(connection)
    counter.close()
    assert [each.count for each in parts.feedback_counts.read()] == [1]
    parts.close()


def _waits(thread: threading.Thread) -> bool:
    """Whether it waits for the log; a timer that only starts the next one ends at once."""
    thread.join(5)
    return thread.is_alive()


def test_a_flood_makes_one_thread_wait_for_the_log(tmp_path: Path) -> None:
    """A service needs its threads for others; what comes meanwhile is counted later."""
    parts = runtime.Runtime(Settings(MAILCTL_HOME=tmp_path))
    counter = RejectionCounter(parts, interval=0.05)
    before = set(threading.enumerate())
    with writing(parts.engine):
        first = threading.Thread(target=counter.add, args=("postmark", FeedbackResult.FORGED))
        first.start()
        while not counter._writing.locked():
            threading.Event().wait(0.01)
        for _ in range(99):
            counter.add("postmark", FeedbackResult.FORGED)
            threading.Event().wait(0.002)
        others = set(threading.enumerate()) - before - {first}
        assert not any(_waits(each) for each in others)
    first.join()
    wait_for_count(parts, 100)
    counter.close()
    parts.close()
