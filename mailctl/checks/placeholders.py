"""Placeholders: settings that still have an example value, which readers of emails would see."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Reserved domains, which cannot receive mail (RFC 2606, RFC 6761), and their subdomains.
_RESERVED = re.compile(
    r"(?:.+\.)?(?:example\.(?:com|net|org)|example|invalid|test|localhost|localdomain)\.?", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class Placeholder:
    """A setting that still has an example value."""

    setting: str
    #: One sentence.
    reason: str
    fix: str


def find_placeholders(settings: Settings) -> Iterator[Placeholder]:
    """Yield the placeholders in production; in development they are allowed."""
    if settings.debug:
        return
    if _RESERVED.fullmatch(settings.email_from_address.strip().rpartition("@")[2]):
        yield Placeholder(
            setting="EMAIL_FROM_ADDRESS",
            reason="The address is at a reserved domain: mail servers reject it, and replies are lost.",
            fix="Set EMAIL_FROM_ADDRESS to an address of the service's own domain.",
        )
    if settings.project_name.strip() == Settings.model_fields["project_name"].default:
        yield Placeholder(
            setting="PROJECT_NAME",
            reason=f"Emails name the service {settings.project_name!r}, because PROJECT_NAME is not set.",
            fix="Set PROJECT_NAME to the name of the service.",
        )
