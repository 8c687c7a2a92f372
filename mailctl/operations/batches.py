"""Marks by which emails that were stopped together are found again, to undo it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from mailctl.domain.eligibility import HOLD
from mailctl.domain.shell_command import mailctl_command

if TYPE_CHECKING:
    from mailctl.domain.eligibility import Action
    from mailctl.domain.shell_command import ShellCommand


def new_batch_mark(action: Action) -> str:
    """Return a new mark for the emails that an action stops; "" for an action that stops none."""
    return f"{action.name}-{secrets.token_hex(3)}" if action.is_stop else ""


def undo_command(action: Action, mark: str) -> ShellCommand:
    """Return the command that releases the emails that an action has stopped under a mark."""
    return mailctl_command("release", state=None if action is HOLD else "cancelled", error=mark)
