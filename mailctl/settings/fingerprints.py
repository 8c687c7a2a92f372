"""Fingerprints of settings and templates, for comparing processes: equal values have equal fingerprints."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.settings import Settings

#: What each process may have for itself, and what the identity of a process has in another form.
_OWN = (
    *("mailctl_home", "mailctl_app", "mailctl_smtp_connections", "mailctl_web_hosts", "email_helo_name"),
    *("email_host", "email_port", "email_enabled"),
)
#: Addresses of services, which may contain credentials and depend on the host.
_ADDRESSES = ("redis_", "celery_", "database_", "mailctl_database_")
_LENGTH = 8
_TEMPLATE_SUFFIXES = (".html", ".txt")
_MAX_TEMPLATES = 100
#: The name under which all templates beyond the first `_MAX_TEMPLATES` are listed.
OTHER_TEMPLATES = "others"


def fingerprint_settings(settings: Settings) -> dict[str, str]:
    """Return the fingerprints of the settings that are not the defaults, by name.

    Secrets, addresses of services, and what each process may have for itself are left out.
    """
    defaults = type(settings).model_construct()
    return {
        name.upper(): _fingerprint(repr(value).encode())
        for name in sorted(type(settings).model_fields)
        if not name.startswith((*_OWN, *_ADDRESSES))
        and not isinstance(value := getattr(settings, name), SecretStr)
        and value != getattr(defaults, name, None)
    }


def fingerprint_templates(folder: Path | None) -> dict[str, str]:
    """Return the fingerprints of a service's own templates by the names of their files.

    Files beyond the first hundred share one, `OTHER_TEMPLATES`, because each heartbeat contains all of them.

    Args:
        folder: the folder of the templates; None if there is none. Files that cannot be read are left out,
            as is a folder that does not exist: other checks say so.
    """
    found: dict[str, str] = {}
    for file in sorted(folder.rglob("*") if folder is not None else ()):
        if file.suffix in _TEMPLATE_SUFFIXES:
            with suppress(OSError):
                found[str(file.relative_to(folder or file))] = _fingerprint(file.read_bytes())
    return _shortened(found)


def _shortened(fingerprints: dict[str, str]) -> dict[str, str]:
    each = list(fingerprints.items())
    shown, others = each[:_MAX_TEMPLATES], each[_MAX_TEMPLATES:]
    return dict(shown) | ({OTHER_TEMPLATES: _fingerprint(repr(others).encode())} if others else {})


def _fingerprint(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()[:_LENGTH]
