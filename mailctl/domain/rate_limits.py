"""Rate limits: how many emails an address, a user, a source or the whole service may get in a time window."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.settings import Settings

PER_RECIPIENT_SETTING = "MAILCTL_LIMIT_PER_RECIPIENT"
PER_USER_SETTING = "MAILCTL_LIMIT_PER_USER"
PER_SOURCE_SETTING = "MAILCTL_LIMIT_PER_SOURCE"
GLOBAL_SETTING = "MAILCTL_LIMIT_GLOBAL"
#: The name that stands for all kinds together.
ALL_KINDS = "*"
_NONE = "none"
_LIMIT = re.compile(r"([1-9]\d{0,6})/([smhd])")
_KIND_LIMIT = re.compile(rf"(\*|[a-z][a-z0-9-]{{0,63}})\s*=\s*({_LIMIT.pattern})")
_UNITS = {"s": ("second", 1), "m": ("minute", 60), "h": ("hour", 3600), "d": ("day", 86400)}


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """A number of emails allowed in a time window."""

    count: int
    unit: str

    @property
    def window(self) -> timedelta:
        """The length of the time window."""
        return timedelta(seconds=_UNITS[self.unit][1])

    def describe(self, what: str) -> str:
        """Return the limit as text, such as `5 reset emails per hour`."""
        return f"{self.count} {what} per {_UNITS[self.unit][0]}"


@dataclass(frozen=True, kw_only=True)
class RateLimits:
    """The rate limits of a service, by kind; `ALL_KINDS` stands for all kinds together."""

    per_recipient: Mapping[str, tuple[RateLimit, ...]] = field(default_factory=dict)
    per_user: Mapping[str, tuple[RateLimit, ...]] = field(default_factory=dict)
    #: By the block of IP addresses that a request came from.
    per_source: Mapping[str, tuple[RateLimit, ...]] = field(default_factory=dict)
    #: The limit for the whole service; emails above it wait instead of being suppressed.
    global_limit: RateLimit | None = None

    @property
    def kinds(self) -> set[str]:
        """The kinds that the limits name."""
        return {*self.per_recipient, *self.per_user, *self.per_source} - {ALL_KINDS}

    def __str__(self) -> str:
        """The limits in one line; "none" if there are none."""
        parts = [
            f"{limit.describe(describe_counted_emails(kind))} and {subject}"
            for subject, limits in (
                ("address", self.per_recipient),
                ("user", self.per_user),
                ("block of IP addresses", self.per_source),
            )
            for kind, several in limits.items()
            for limit in several
        ]
        overall = [f"{self.global_limit.describe('emails')} over all"] if self.global_limit else []
        return ", ".join([*parts, *overall]) or "none"


def describe_counted_emails(kind: str) -> str:
    """Return what the limit of a kind counts, such as `reset emails`."""
    return "emails" if kind == ALL_KINDS else f"{kind} emails"


def rate_limits_from_settings(settings: Settings) -> RateLimits:
    """Return the rate limits of these settings.

    Raises:
        ConfigurationError: a limit is invalid.
    """
    return RateLimits(
        per_recipient=_parse_by_kind(settings.mailctl_limit_per_recipient, setting=PER_RECIPIENT_SETTING),
        per_user=_parse_by_kind(settings.mailctl_limit_per_user, setting=PER_USER_SETTING),
        per_source=_parse_by_kind(settings.mailctl_limit_per_source, setting=PER_SOURCE_SETTING),
        global_limit=_parse_global_limit(settings.mailctl_limit_global),
    )


def _parse_by_kind(text: str, *, setting: str) -> Mapping[str, tuple[RateLimit, ...]]:
    limits: dict[str, tuple[RateLimit, ...]] = {}
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
        limits[kind] = (*limits.get(kind, ()), RateLimit(count=int(count), unit=unit))
    return limits


def _parse_global_limit(text: str) -> RateLimit | None:
    if text.strip() in ("", _NONE):
        return None
    found = _LIMIT.fullmatch(text.strip())
    if not found:
        raise ConfigurationError(
            f"{GLOBAL_SETTING}: {text!r} is not NUMBER/UNIT.",
            fix=f"Give one like 600/m (s, m, h or d), or {_NONE}.",
        )
    return RateLimit(count=int(found[1]), unit=found[2])
