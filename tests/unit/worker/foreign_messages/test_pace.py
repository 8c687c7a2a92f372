"""Overflow messages pass once through their queue without a pause."""

from __future__ import annotations

from mailctl.worker.foreign_messages.pace import PAUSE_SECONDS, RequeuePace


def test_there_is_a_pause_after_each_pass_through_a_queue() -> None:
    """Each queue has its own passes, and is asked for its depth once in each."""
    asked: list[str] = []

    def depth(queue: str) -> int:
        asked.append(queue)
        return 2999

    pace = RequeuePace(depth)
    assert {pace.due("celery", now=100.0) for _ in range(3000)} == {100.0}
    assert {pace.due("celery", now=103.0) for _ in range(3000)} == {103.0 + PAUSE_SECONDS}
    assert pace.due("celery", now=103.5) == 103.0 + 2 * PAUSE_SECONDS
    assert pace.due("other", now=103.5) == 103.5
    assert asked == ["celery", "celery", "celery", "other"]
