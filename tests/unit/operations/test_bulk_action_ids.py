"""Ids of bulk actions, and the command that undoes one."""

from __future__ import annotations

from mailctl.domain.eligibility import CANCEL, HOLD, PURGE, RETRY
from mailctl.operations.bulk_action_ids import new_bulk_action_id, undo_command


def test_only_actions_that_stop_emails_get_an_id() -> None:
    """It names the action, and is never the same."""
    assert new_bulk_action_id(RETRY) is None
    first, second = new_bulk_action_id(HOLD), new_bulk_action_id(HOLD)
    assert first is not None
    assert first.startswith("hold-")
    assert first != second


def test_release_undoes_it_by_the_id() -> None:
    """Held emails are what it releases by default."""
    assert str(undo_command(HOLD, "hold-1")) == "mailctl release --stopped-by hold-1"
    for action in (CANCEL, PURGE):
        assert str(undo_command(action, "x-1")) == "mailctl release --state cancelled --stopped-by x-1"
