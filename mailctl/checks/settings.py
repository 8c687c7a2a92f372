"""The settings: what is set, where it came from, and what nobody reads."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING

from dotenv import dotenv_values
from pydantic import SecretStr

from mailctl.checks.finding import CheckGroup, Finding
from mailctl.connection_urls import ConnectionUrl
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.redaction import MASK, mask_url
from mailctl.settings import Profile, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_GROUP = CheckGroup(name="settings")
_PREFIX = "MAILCTL_"
_SETTING_NAMES = tuple(name.upper() for name in Settings.model_fields)
#: Read by `mailctl send` itself, because an argument would show in `ps`.
_TOKEN_VARIABLES = frozenset(
    f"{_PREFIX}{link.token.upper()}" for kind in BUILT_IN_KINDS.values() for link in kind.links
)
_DEFAULT = "default"
#: How names of the environment begin that may be meant for us; others there are none of our business.
_PREFIXES = (_PREFIX, "EMAIL_", "REDIS_", "CELERY_")
#: How like a setting's name another has to be: of those with a letter wrong, missing or too many it is more,
#: of names of other programs, such as EMAIL_USE_TLS, less.
_CLOSE = 0.85


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Say which profile this is, what each profile would use, and where every value came from."""
    yield _profile(settings)
    for profile in Profile:
        yield _servers(settings.for_profile(profile), profile)
    for name in _SETTING_NAMES:
        if settings.source_of(name) != _DEFAULT:
            yield _GROUP.ok(name, f"{_display_value(settings, name)} (from {settings.source_of(name)})")
    yield from check_names(settings)


def env_files(settings: Settings) -> list[Path]:
    """Return the file that settings are read from, if it is there."""
    return [settings.env_file] if settings.env_file.is_file() else []


def secret_names(settings: Settings, origin: str) -> list[str]:
    """Return the settings with a secret whose value came from `origin`."""
    return [
        name
        for name in _SETTING_NAMES
        if settings.source_of(name) == origin
        and isinstance(value := getattr(settings, name.lower()), SecretStr)
        and value.get_secret_value()
    ]


def _profile(settings: Settings) -> Finding:
    origin = settings.source_of("DEBUG")
    # By default it is True.
    source = "as asked for" if origin == _DEFAULT and not settings.debug else f"from {origin}"
    return _GROUP.ok("profile", f"{settings.profile} (DEBUG={settings.debug}, {source})")


def _servers(settings: Settings, profile: Profile) -> Finding:
    return _GROUP.ok(profile, f"broker {settings.broker.masked}, results {settings.results.masked}")


def _display_value(settings: Settings, name: str) -> str:
    value = getattr(settings, name.lower())
    if isinstance(value, ConnectionUrl):
        return value.masked
    if isinstance(value, SecretStr):
        return "set" if value.get_secret_value() else "empty"
    if name == "EMAIL_HOST_USER" and value and value == settings.email_host_password.get_secret_value():
        return f"{MASK} (the same as EMAIL_HOST_PASSWORD)"  # some services take their token for both
    return mask_url(value) or "empty"


def check_names(settings: Settings) -> Iterator[Finding]:
    """Find names that look like those of settings, and that nobody reads."""
    yield from _misnamed(
        os.environ, source="the environment", is_ours=lambda name: name.startswith(_PREFIXES)
    )
    for path in env_files(settings):
        values = dotenv_values(path, interpolate=False, encoding="utf-8-sig")
        yield from _misnamed(values, source=str(path), is_ours=lambda _: True)


def _misnamed(values: Iterable[str], *, source: str, is_ours: Callable[[str], bool]) -> Iterator[Finding]:
    """Find the names that nobody reads.

    Args:
        is_ours: whether a name that is nearly that of a setting is meant to be one; in another letter case,
            and with our own prefix, each is.
    """
    for name in sorted(values):
        if name in _SETTING_NAMES or name in _TOKEN_VARIABLES:
            continue
        meant = name.upper() if name.upper() in _SETTING_NAMES else ""
        if not meant and is_ours(name):
            meant = next(iter(difflib.get_close_matches(name, _SETTING_NAMES, n=1, cutoff=_CLOSE)), "")
        if meant or name.startswith(_PREFIX):
            yield _GROUP.warn(
                name,
                f"is in {source}, but nobody reads a setting of this name.",
                fix=f"Did you mean {meant}?" if meant else "Remove it, or see .env.example for the names.",
            )
