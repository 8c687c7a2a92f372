"""Reports of requests that come together, in a real delivery log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from mailctl.delivery_log.reports import FeedbackResult
from mailctl.feedback import Feedback, FeedbackKind, Proof
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.web.report_batches import BatchesOfLoops, ReportBatches

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


def report(source_id: str) -> list[Feedback]:
    """Return a report about an email of somebody else, which is only counted."""
    kind, proof = FeedbackKind.DELIVERED, Proof.VERIFIED
    return [Feedback(source="ses", source_id=source_id, kind=kind, proof=proof, email_id="unknown")]


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
    all_batches = BatchesOfLoops(parts)

    async def current() -> list[ReportBatches]:
        return [all_batches.current(), all_batches.current()]

    [first, again], [other, _] = asyncio.run(current()), asyncio.run(current())
    assert first is again
    assert first is not other
