"""Messages of other apps: how often they were requeued."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.delivery_log.foreign_messages import RETENTION, ForeignMessages

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


def test_each_requeue_counts(log: Log) -> None:
    """By digest; one that never was requeued is left out."""
    messages = ForeignMessages(log.engine, clock=log.time)
    messages.record_requeues(["a"])
    messages.record_requeues(["a", "b"])
    assert messages.requeue_counts(["a", "b", "c"]) == {"a": 2, "b": 1}
    messages.forget(["a"])
    assert messages.requeue_counts(["a", "b"]) == {"b": 1}


def test_old_counts_are_deleted(log: Log) -> None:
    """With the next requeue of any message."""
    messages = ForeignMessages(log.engine, clock=log.time)
    messages.record_requeues(["old"])
    log.forward(RETENTION.total_seconds() + 1)
    messages.record_requeues(["new"])
    assert messages.requeue_counts(["old", "new"]) == {"new": 1}
