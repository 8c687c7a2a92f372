"""mailctl: send the emails of a web service through Celery, and track what happens to each one.

The names exported here are the public API; the modules that define them may move.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailctl import alembic, links, sync
    from mailctl.delivery_log.used_links import LinkUses, redeem
    from mailctl.domain.catalog import Kind, Link
    from mailctl.errors import (
        BrokerUnavailable,
        ConfigurationError,
        IdempotencyConflict,
        InvalidInput,
        LogUnavailable,
        MailctlError,
        NotFound,
        Refused,
        RenderError,
        ServiceUnavailable,
    )
    from mailctl.feedback.listeners import FeedbackEvent, on_feedback
    from mailctl.recorder.hooks import record_tasks
    from mailctl.security.links import InvalidLink, UsedLink
    from mailctl.service import EmailService, Recipient

#: The module that defines each name; it is imported on first use, so that `mailctl --help` starts fast.
_EXPORTS = {
    "BrokerUnavailable": "mailctl.errors",
    "ConfigurationError": "mailctl.errors",
    "EmailService": "mailctl.service",
    "FeedbackEvent": "mailctl.feedback.listeners",
    "IdempotencyConflict": "mailctl.errors",
    "InvalidInput": "mailctl.errors",
    "InvalidLink": "mailctl.security.links",
    "Kind": "mailctl.domain.catalog",
    "Link": "mailctl.domain.catalog",
    "LinkUses": "mailctl.delivery_log.used_links",
    "LogUnavailable": "mailctl.errors",
    "MailctlError": "mailctl.errors",
    "NotFound": "mailctl.errors",
    "Recipient": "mailctl.service",
    "Refused": "mailctl.errors",
    "RenderError": "mailctl.errors",
    "ServiceUnavailable": "mailctl.errors",
    "UsedLink": "mailctl.security.links",
    "alembic": "mailctl.alembic",
    "links": "mailctl.links",
    "on_feedback": "mailctl.feedback.listeners",
    "record_tasks": "mailctl.recorder.hooks",
    "redeem": "mailctl.delivery_log.used_links",
    "sync": "mailctl.sync",
}

__all__ = [
    "BrokerUnavailable",
    "ConfigurationError",
    "EmailService",
    "FeedbackEvent",
    "IdempotencyConflict",
    "InvalidInput",
    "InvalidLink",
    "Kind",
    "Link",
    "LinkUses",
    "LogUnavailable",
    "MailctlError",
    "NotFound",
    "Recipient",
    "Refused",
    "RenderError",
    "ServiceUnavailable",
    "UsedLink",
    "alembic",
    "links",
    "on_feedback",
    "record_tasks",
    "redeem",
    "sync",
]


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_EXPORTS[name])
    return module if module.__name__.endswith(f".{name}") else getattr(module, name)
