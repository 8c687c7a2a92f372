"""Reports of several threads share a transaction, and none waits in vain."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mailctl.errors import LogUnavailable
from mailctl.feedback.grouped_recording import GroupedRecording
from mailctl.feedback.models import Feedback, FeedbackKind, Proof

if TYPE_CHECKING:
    from collections.abc import Sequence

THREADS = 8


def report(number: int) -> Feedback:
    """Return a report."""
    return Feedback(source="x", source_id=str(number), kind=FeedbackKind.DELIVERED, proof=Proof.VERIFIED)


class Log:
    """Stands for the delivery log: it is slow, so that reports wait for each other."""

    def __init__(self, *, spoilt: str = "", is_down: bool = False) -> None:
        self.groups: list[list[str]] = []
        self.may_go_on = threading.Event()
        self.has_begun = threading.Event()
        self._spoilt, self._is_down = spoilt, is_down

    def record(self, reports: Sequence[Feedback]) -> None:
        """Record a group, as soon as the test lets it."""
        self.has_begun.set()
        assert self.may_go_on.wait(60)
        if self._is_down:
            raise LogUnavailable("down")
        if self._spoilt in [each.source_id for each in reports]:
            raise ValueError("spoilt")
        self.groups.append([each.source_id for each in reports])


def add_all(log: Log) -> list[BaseException | None]:
    """Let each thread add a report while the first is being recorded; return what each raises."""
    groups = GroupedRecording(log.record)
    with ThreadPoolExecutor(THREADS) as threads:
        first = threads.submit(groups.add, [report(0)])
        assert log.has_begun.wait(60)
        others = [threads.submit(groups.add, [report(number)]) for number in range(1, THREADS)]
        while len(groups._waiting) < THREADS - 1:
            threading.Event().wait(0.001)
        log.may_go_on.set()
        return [each.exception(60) for each in (first, *others)]


def test_what_comes_meanwhile_is_one_transaction() -> None:
    """The first is recorded alone, all others together, and each caller returns after its own."""
    log = Log()
    assert add_all(log) == [None] * THREADS
    assert [len(group) for group in log.groups] == [1, THREADS - 1]


def test_without_the_log_each_caller_knows_it() -> None:
    """Nobody is told that a report was recorded which was not."""
    assert all(isinstance(error, LogUnavailable) for error in add_all(Log(is_down=True)))


def test_one_report_spoils_no_other() -> None:
    """What the database does not take fails alone."""
    log = Log(spoilt="3")
    errors = add_all(log)
    assert [number for number, error in enumerate(errors) if isinstance(error, ValueError)] == [3]
    assert sorted(each for group in log.groups for each in group) == ["0", "1", "2", "4", "5", "6", "7"]


def test_recording_goes_on_after_an_error() -> None:
    """The next report finds nobody recording."""
    log = Log(spoilt="1")
    log.may_go_on.set()
    groups = GroupedRecording(log.record)
    with pytest.raises(ValueError, match="spoilt"):
        groups.add([report(1)])
    groups.add([report(2)])
    assert log.groups == [["2"]]
