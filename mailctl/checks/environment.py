"""The settings: what is set, where it came from, and what nobody reads."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dotenv import dotenv_values
from pydantic import SecretStr

from mailctl.catalog import KINDS
from mailctl.checks.finding import Finding, Group
from mailctl.connection_urls import ConnectionUrl
from mailctl.redaction import MASK, masked_url
from mailctl.settings import Profile, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_GROUP = Group(name="settings")
_PREFIX = "MAILCTL_"
_NAMES = tuple(name.upper() for name in Settings.model_fields)
#: Read by `mailctl send` itself, because an argument would show in `ps`.
_TOKENS = frozenset(f"{_PREFIX}{link.token.upper()}" for kind in KINDS.values() for link in kind.links)
_DEFAULT = "default"


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Say which profile this is, what each profile would use, and where every value came from."""
    yield _profile(settings)
    for profile in Profile:
        yield _servers(settings.for_profile(profile), profile)
    for name in _NAMES:
        if settings.origin(name) != _DEFAULT:
            yield _GROUP.ok(name, f"{_shown(settings, name)} (from {settings.origin(name)})")
    yield from _unknown_names(settings)


def env_files(settings: Settings) -> list[Path]:
    """Return the files that values came from; else the one that would have been read, if it is there."""
    origins = {settings.origin(name) for name in _NAMES} - {_DEFAULT, "environment"}
    paths = [Path(origin) for origin in sorted(origins)] or [Path(".env")]
    return [path for path in paths if path.is_file()]


def secret_names(settings: Settings, origin: str) -> list[str]:
    """Return the settings with a secret whose value came from `origin`."""
    return [
        name
        for name in _NAMES
        if settings.origin(name) == origin
        and isinstance(value := getattr(settings, name.lower()), SecretStr)
        and value.get_secret_value()
    ]


def _profile(settings: Settings) -> Finding:
    origin = settings.origin("DEBUG")
    # By default it is True.
    source = "as asked for" if origin == _DEFAULT and not settings.debug else f"from {origin}"
    return _GROUP.ok("profile", f"{settings.profile} (DEBUG={settings.debug}, {source})")


def _servers(settings: Settings, profile: Profile) -> Finding:
    return _GROUP.ok(profile, f"broker {settings.broker.shown}, results {settings.results.shown}")


def _shown(settings: Settings, name: str) -> str:
    value = getattr(settings, name.lower())
    if isinstance(value, ConnectionUrl):
        return value.shown
    if isinstance(value, SecretStr):
        return "set" if value.get_secret_value() else "empty"
    if name == "EMAIL_HOST_USER" and value and value == settings.email_host_password.get_secret_value():
        return f"{MASK} (the same as EMAIL_HOST_PASSWORD)"  # some services take their token for both
    return masked_url(value) or "empty"


def _unknown_names(settings: Settings) -> Iterator[Finding]:
    yield from _unknown_names_in(os.environ, source="the environment")
    for path in env_files(settings):
        yield from _unknown_names_in(
            dotenv_values(path, interpolate=False, encoding="utf-8-sig"), source=str(path)
        )


def _unknown_names_in(values: Mapping[str, object], *, source: str) -> Iterator[Finding]:
    for name in sorted(values):
        if name.startswith(_PREFIX) and name not in _NAMES and name not in _TOKENS:
            close = difflib.get_close_matches(name, _NAMES, n=1, cutoff=0.75)
            yield _GROUP.warn(
                name,
                f"is in {source}, but nobody reads a setting of this name.",
                fix=f"Did you mean {close[0]}?" if close else "Remove it, or see .env.example for the names.",
            )
