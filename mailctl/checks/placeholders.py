"""Settings that still say what examples say: in production, every reader of an email would see it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Domains that nobody can receive mail at (RFC 2606, RFC 6761), with what is below them.
_RESERVED = re.compile(
    r"(?:.+\.)?(?:example\.(?:com|net|org)|example|invalid|test|localhost|localdomain)\.?", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class Placeholder:
    """A setting that nobody has set for this service."""

    setting: str
    reason: str
    fix: str


def find_placeholders(settings: Settings) -> Iterator[Placeholder]:
    """Find the placeholders of a production profile; development is meant to run on them."""
    if settings.debug:
        return
    if _RESERVED.fullmatch(settings.email_from_address.strip().rpartition("@")[2]):
        yield Placeholder(
            setting="EMAIL_FROM_ADDRESS",
            reason="is at a domain reserved for examples: mail servers refuse it, and nobody can answer.",
            fix="Set EMAIL_FROM_ADDRESS to an address of the service's own domain.",
        )
    if settings.project_name.strip() == Settings.model_fields["project_name"].default:
        yield Placeholder(
            setting="PROJECT_NAME",
            reason=f"is not set: emails speak of {settings.project_name!r}.",
            fix="Set PROJECT_NAME to the name of the service.",
        )
