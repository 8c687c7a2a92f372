"""mailctl: operate a web service's Celery email. Send, work off, find, explain, act."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailctl.service import EmailService

__all__ = ["EmailService"]


def __getattr__(name: str) -> object:
    if name == "EmailService":
        # Imported when asked for: it brings SQLAlchemy, which `mailctl --help` has no use for.
        from mailctl.service import EmailService

        return EmailService
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
