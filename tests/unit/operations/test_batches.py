"""Marks of emails that were stopped together, and the command that undoes it."""

from __future__ import annotations

from mailctl.domain.eligibility import CANCEL, HOLD, PURGE, RETRY
from mailctl.operations.batches import new_batch_mark, undo_command


def test_only_emails_that_are_stopped_get_a_mark() -> None:
    """It names the action, and is never the same."""
    assert new_batch_mark(RETRY) == ""
    first, second = new_batch_mark(HOLD), new_batch_mark(HOLD)
    assert first.startswith("hold-")
    assert first != second


def test_release_undoes_it_by_the_mark() -> None:
    """Held emails are what it releases by default."""
    assert str(undo_command(HOLD, "hold-1")) == "mailctl release --error hold-1"
    for action in (CANCEL, PURGE):
        assert str(undo_command(action, "x-1")) == "mailctl release --state cancelled --error x-1"
