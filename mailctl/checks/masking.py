"""What may be shown of settings: never a password, also not inside an address or somebody else's sentence."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pydantic import SecretStr

from mailctl.redaction import MASK
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.checks.finding import Finding

#: Secret settings of which more than "set" may be shown.
ADDRESSES = frozenset(
    {"REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "DATABASE_URL", "MAILCTL_DATABASE_URL"}
)
#: Shorter secrets would be found inside ordinary words.
_SHORTEST = 8
_ADDRESS = re.compile(r"(?P<scheme>[\w+.-]+)://(?:(?P<credentials>.*)@)?(?P<rest>.*)", re.DOTALL)
_USER = re.compile(r"[\w.%+-]*")
_SECRET_OPTION = re.compile(r"([?&;][^=&;]*(?:pass|pwd|secret|token|key)[^=&;]*)=[^&;]*", re.IGNORECASE)


def masked(value: object) -> str:
    """Return a value on one printable line; if it is an address, without its password.

    Everything up to the last @ counts as credentials: a password may contain any other character.
    """
    text = "".join(char if char.isprintable() else " " for char in str(value))
    found = _ADDRESS.fullmatch(text)
    if not found:
        return text
    rest = _SECRET_OPTION.sub(rf"\1={MASK}", found["rest"])
    if found["credentials"] is None:
        return f"{found['scheme']}://{rest}"
    user, colon, _ = found["credentials"].partition(":")
    shown = user if _USER.fullmatch(user) else MASK
    return f"{found['scheme']}://{shown}{':' + MASK if colon else ''}@{rest}"


class Mask:
    """Takes the secrets of the settings out of texts that others wrote.

    Args:
        settings: whose secrets they are.
    """

    def __init__(self, settings: Settings) -> None:
        found = {secret for secret in _secrets(settings) if len(secret) >= _SHORTEST}
        # The longest first: one may be part of another.
        self._secrets = sorted(found, key=lambda secret: (-len(secret), secret))

    def cover(self, finding: Finding) -> Finding:
        """Return a finding in which no secret can be read."""
        return replace(finding, detail=self._covered(finding.detail), fix=self._covered(finding.fix))

    def _covered(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text


def _secrets(settings: Settings) -> Iterator[str]:
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if not isinstance(value, SecretStr):
            continue
        secret = value.get_secret_value()
        found = _ADDRESS.fullmatch(secret) if name.upper() in ADDRESSES else None
        if found is None:
            yield secret
        elif found["credentials"]:
            password = found["credentials"].partition(":")[2]
            yield from {password, unquote(password)}
    yield from settings.secret_keys
