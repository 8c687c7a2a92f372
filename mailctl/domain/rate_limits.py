"""How many emails may go to whom in which time: the limits that keep a service from being abused."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.settings import Settings

PER_RECIPIENT = "MAILCTL_LIMIT_PER_RECIPIENT"
PER_USER = "MAILCTL_LIMIT_PER_USER"
GLOBAL = "MAILCTL_LIMIT_GLOBAL"
#: What stands for all kinds together.
ALL_KINDS = "*"
_NONE = "none"
_LIMIT = re.compile(r"([1-9]\d{0,6})/([smhd])")
_KIND_LIMIT = re.compile(rf"(\*|[a-z][a-z0-9-]{{0,63}})\s*=\s*({_LIMIT.pattern})")
_UNITS = {"s": ("second", 1), "m": ("minute", 60), "h": ("hour", 3600), "d": ("day", 86400)}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """So many emails in such a time."""

    count: int
    unit: str

    @property
    def window(self) -> timedelta:
        """The time in which they are counted."""
        return timedelta(seconds=_UNITS[self.unit][1])

    def of(self, what: str) -> str:
        """Return it in words, such as `5 reset emails per hour`."""
        return f"{self.count} {what} per {_UNITS[self.unit][0]}"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """All limits of a service; by kind, or for all kinds together."""

    per_recipient: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)
    per_user: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)
    #: Over it, emails wait instead of being suppressed.
    overall: Limit | None = None

    @property
    def kinds(self) -> set[str]:
        """The kinds that limits name."""
        return {*self.per_recipient, *self.per_user} - {ALL_KINDS}

    def __str__(self) -> str:
        """What is in force, in one line."""
        parts = [
            f"{limit.of(emails_of(kind))} and {whom}"
            for whom, limits in (("address", self.per_recipient), ("user", self.per_user))
            for kind, several in limits.items()
            for limit in several
        ]
        overall = [f"{self.overall.of('emails')} over all"] if self.overall else []
        return ", ".join([*parts, *overall]) or "none"


def emails_of(kind: str) -> str:
    """Return what a limit counts, in words."""
    return "emails" if kind == ALL_KINDS else f"{kind} emails"


def limits_of(settings: Settings) -> Limits:
    """Return the limits that these settings name.

    Raises:
        ConfigurationError: one of them is not usable.
    """
    return Limits(
        per_recipient=_by_kind(settings.mailctl_limit_per_recipient, setting=PER_RECIPIENT),
        per_user=_by_kind(settings.mailctl_limit_per_user, setting=PER_USER),
        overall=_overall(settings.mailctl_limit_global),
    )


def _by_kind(text: str, *, setting: str) -> Mapping[str, tuple[Limit, ...]]:
    limits: dict[str, tuple[Limit, ...]] = {}
    if text.strip() in ("", _NONE):
        return limits
    for entry in (part.strip() for part in text.split(",")):
        found = _KIND_LIMIT.fullmatch(entry)
        if not found:
            raise ConfigurationError(
                f"{setting}: {entry!r} is not KIND=NUMBER/UNIT.",
                fix=f"Give them like reset=5/h,*=20/d (s, m, h or d; * is all kinds together), or {_NONE}.",
            )
        kind, _, count, unit = found.groups()
        limits[kind] = (*limits.get(kind, ()), Limit(count=int(count), unit=unit))
    return limits


def _overall(text: str) -> Limit | None:
    if text.strip() in ("", _NONE):
        return None
    found = _LIMIT.fullmatch(text.strip())
    if not found:
        raise ConfigurationError(
            f"{GLOBAL}: {text!r} is not NUMBER/UNIT.", fix=f"Give one like 600/m (s, m, h or d), or {_NONE}."
        )
    return Limit(count=int(found[1]), unit=found[2])
