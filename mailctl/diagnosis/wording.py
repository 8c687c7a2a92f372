"""Wording that the rules share: times, lists of names, the command that follows an email."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl import timefmt
from mailctl.domain.shell_command import ShellCommand, mailctl_command
from mailctl.timefmt import TimeStyle

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from mailctl.domain.models import Email

#: What is known of emails that a live worker has been sending for long.
NO_REPLY_YET = "no reply of the mail server is recorded yet"
_MAX_NAMES = 3


def format_time(at: datetime) -> str:
    """Return a time in UTC, to the second."""
    return timefmt.format_time(at, TimeStyle.SENTENCE)


def join_names(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    every = list(names)
    more = len(every) - _MAX_NAMES
    return ", ".join(every[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def follow_command(email: Email) -> ShellCommand:
    """Return the command that follows an email until it is finished."""
    return mailctl_command("status", arguments=[email.id], watch=True)
