"""mailctl: operate a web service's Celery email. Send, work off, find, explain, act.

What is exported here is the public API; the modules it comes from may change their places.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    from mailctl.security import links
    from mailctl.security.links import InvalidLink, UsedLink
    from mailctl.service import EmailService, Recipient

#: Where each name comes from, imported on first use: `mailctl --help` needs neither SQLAlchemy nor Celery.
_EXPORTS = {
    "BrokerUnavailable": "mailctl.errors",
    "ConfigurationError": "mailctl.errors",
    "EmailService": "mailctl.service",
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
    "redeem": "mailctl.delivery_log.used_links",
}

__all__ = [
    "BrokerUnavailable",
    "ConfigurationError",
    "EmailService",
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
    "links",
    "redeem",
]


def __getattr__(name: str) -> object:
    if name == "links":
        return import_module("mailctl.security.links")
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
