"""Times, lengths of time and numbers as a diagnosis says them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl import timefmt
from mailctl.shell_command import ShellCommand, mailctl_command
from mailctl.timefmt import TimeStyle, pluralize

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from mailctl.domain.models import Email

__all__ = ["follow_command", "format_time", "join_names", "pluralize"]

_MOST_NAMES = 3


def format_time(at: datetime) -> str:
    """Return a time, to the second."""
    return timefmt.format_time(at, TimeStyle.SENTENCE)


def join_names(found: Iterable[str]) -> str:
    """Return some names, and how many more there are."""
    every = list(found)
    more = len(every) - _MOST_NAMES
    return ", ".join(every[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def follow_command(email: Email) -> ShellCommand:
    """Return the command that follows an email to its end."""
    return mailctl_command("status", arguments=[email.id], watch=True)
