"""Ids of bulk actions, by which the emails that one of them stopped are found again, to undo it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from mailctl.domain.eligibility import HOLD
from mailctl.domain.shell_command import mailctl_command

if TYPE_CHECKING:
    from mailctl.domain.eligibility import Action
    from mailctl.domain.shell_command import ShellCommand


def new_bulk_action_id(action: Action) -> str | None:
    """Return a new id for one bulk action; None for an action that stops no emails."""
    return f"{action.name}-{secrets.token_hex(3)}" if action.is_stop else None


def undo_command(action: Action, bulk_action_id: str) -> ShellCommand:
    """Return the command that releases the emails that a bulk action has stopped."""
    return mailctl_command(
        "release", state=None if action is HOLD else "cancelled", stopped_by=bulk_action_id
    )
