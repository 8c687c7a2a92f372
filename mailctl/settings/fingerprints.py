"""Fingerprints of settings, by which processes are compared: equal values have equal ones."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    from mailctl.settings import Settings

#: What each process may have for itself, and what the identity of a process has in another form.
_OWN = (
    *("mailctl_home", "mailctl_app", "mailctl_smtp_connections", "mailctl_web_hosts", "email_helo_name"),
    *("email_host", "email_port", "email_enabled"),
)
#: Addresses of services, which may contain credentials and depend on the host.
_ADDRESSES = ("redis_", "celery_", "database_", "mailctl_database_")
_LENGTH = 8


def fingerprint_settings(settings: Settings) -> dict[str, str]:
    """Return the fingerprints of the settings that are not the defaults, by name.

    Secrets, addresses of services, and what each process may have for itself are left out.
    """
    defaults = type(settings).model_construct()
    return {
        name.upper(): hashlib.sha256(repr(value).encode()).hexdigest()[:_LENGTH]
        for name in sorted(type(settings).model_fields)
        if not name.startswith((*_OWN, *_ADDRESSES))
        and not isinstance(value := getattr(settings, name), SecretStr)
        and value != getattr(defaults, name, None)
    }
