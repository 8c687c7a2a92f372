"""Times, lengths of time and numbers as a diagnosis says them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.command import Command, mailctl
from mailctl.timefmt import count

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from mailctl.domain.models import Email

__all__ = ["count", "follow", "moment", "names"]

_MOST_NAMES = 3


def moment(at: datetime) -> str:
    """Return a time, to the second."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def names(found: Iterable[str]) -> str:
    """Return some names, and how many more there are."""
    every = list(found)
    more = len(every) - _MOST_NAMES
    return ", ".join(every[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def follow(email: Email) -> Command:
    """Return the command that follows an email to its end."""
    return mailctl("status", arguments=[email.id], watch=True)
