"""Reports of requests that come together, in a real delivery log."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import pytest
from sqlalchemy import event

from mailctl.delivery_log.reports import FeedbackResult
from mailctl.errors import LogUnavailable, ServiceUnavailable
from mailctl.feedback import Feedback, FeedbackKind, Proof
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.web import report_batches
from mailctl.web.report_batches import PerLoopBatches, ReportBatches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Runtime]:
    """The parts of a process with a delivery log."""
    made = Runtime(Settings(MAILCTL_HOME=tmp_path))
    assert made.feedback_counts.read() == []
    yield made
    made.close()


def report(*source_ids: str) -> list[Feedback]:
    """Return reports about emails of somebody else, which are only counted."""
    kind, proof = FeedbackKind.DELIVERED, Proof.VERIFIED
    return [
        Feedback(source="ses", source_id=source_id, kind=kind, proof=proof, email_id="unknown")
        for source_id in source_ids
    ]


async def together(batches: ReportBatches, *source_ids: str) -> list[object]:
    """Record a report for each of some requests at once; return what each gets."""
    calls = (batches.record(report(source_id)) for source_id in source_ids)
    return await asyncio.gather(*calls, return_exceptions=True)


def counted(parts: Runtime) -> int:
    """Return how many reports are counted in the log."""
    return sum(each.count for each in parts.feedback_counts.read() if each.result is FeedbackResult.UNMATCHED)


def test_requests_that_come_together_share_a_transaction(parts: Runtime) -> None:
    """All are on disk when they are answered."""
    commits: list[object] = []
    assert asyncio.run(together(ReportBatches(parts), "first")) == [None]
    event.listen(parts.engine, "commit", commits.append)
    assert asyncio.run(together(ReportBatches(parts), *map(str, range(20)))) == [None] * 20
    assert len(commits) == 1
    assert counted(parts) == 21


def test_a_request_that_cannot_be_recorded_fails_alone(parts: Runtime) -> None:
    """The others are recorded all the same."""
    answers = asyncio.run(together(ReportBatches(parts), "a", "\udcff", "b"))
    assert [answers[0], type(answers[1]), answers[2]] == [None, UnicodeEncodeError, None]
    assert counted(parts) == 2


def test_a_request_that_is_given_up_takes_no_other_with_it(parts: Runtime) -> None:
    """Whoever began the call may leave."""

    async def leave() -> list[object]:
        batches = ReportBatches(parts)
        first = asyncio.create_task(batches.record(report("first")))
        second = asyncio.create_task(batches.record(report("second")))
        await asyncio.sleep(0)
        first.cancel()
        return await asyncio.gather(first, second, return_exceptions=True)

    left, recorded = asyncio.run(leave())
    assert isinstance(left, asyncio.CancelledError)
    assert recorded is None
    assert counted(parts) == 2


def test_each_event_loop_has_batches_of_its_own(parts: Runtime) -> None:
    """A future belongs to one loop."""
    all_batches = PerLoopBatches(parts)

    async def current() -> list[ReportBatches]:
        return [all_batches.current(), all_batches.current()]

    [first, again], [other, _] = asyncio.run(current()), asyncio.run(current())
    assert first is again
    assert first is not other


def test_requests_with_many_reports_share_no_transaction(parts: Runtime) -> None:
    """While it is written, the workers wait for the log."""
    commits: list[object] = []
    event.listen(parts.engine, "commit", commits.append)

    async def record() -> None:
        batches = ReportBatches(parts)
        calls = (batches.record(report(*(f"{each}/{place}" for place in range(600)))) for each in "abc")
        await asyncio.gather(*calls)

    asyncio.run(record())
    assert (len(commits), counted(parts)) == (3, 1800)


def test_a_request_is_answered_in_time_whatever_the_log_does(
    parts: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is known then not to be recorded; the next one is, once the log is free."""
    monkeypatch.setattr(report_batches, "_SECONDS", 0.2)

    async def record() -> None:
        batches = ReportBatches(parts)
        with closing(sqlite3.connect(tmp_path / "mailctl.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answers = await asyncio.gather(
                *(
                    batches.record(report(*(f"{number}/{place}" for place in range(400))))
                    for number in range(20)
                ),
                return_exceptions=True,
            )
            assert {(type(each), str(each).partition(".")[0]) for each in answers} == {
                (LogUnavailable, "the delivery log does not answer in time")
            }
            assert not batches._waiting
        monkeypatch.setattr(report_batches, "_SECONDS", 240)
        await batches.record(report("later"))

    asyncio.run(record())


def test_a_process_without_threads_says_so(parts: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is wrong with the request, which has to come again."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    [answer] = asyncio.run(together(ReportBatches(parts), "first"))
    assert isinstance(answer, ServiceUnavailable)


def test_a_service_on_trio_records_each_request_by_itself(parts: Runtime) -> None:
    """It has no loop of asyncio."""
    pytest.importorskip("trio")
    anyio.run(PerLoopBatches(parts).record, report("first"), backend="trio")
    assert counted(parts) == 1
