"""Checks of the settings: profile, values with their sources, and misspelt names."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING

from dotenv import dotenv_values
from pydantic import SecretStr

from mailctl.checks.finding import CheckGroup, Finding
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.shell_command import mailctl_command
from mailctl.settings import Profile, Settings
from mailctl.settings.description import DEFAULT_SOURCE, describe_server_variables, masked_value
from mailctl.settings.secret_files import secret_file_names
from mailctl.settings.server_variables import PREFIX as SERVER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_GROUP = CheckGroup(name="settings")
_PREFIX = "MAILCTL_"
_SETTING_NAMES = tuple(name.upper() for name in Settings.model_fields)
#: Environment variables that `mailctl send` reads, because `ps` would show an option.
_TOKEN_VARIABLES = frozenset(
    f"{_PREFIX}{link.token.upper()}" for kind in BUILT_IN_KINDS.values() for link in kind.links
)
#: The names of settings, and of the variables that name files with secrets.
_KNOWN_NAMES = (*_SETTING_NAMES, *sorted(secret_file_names()))
#: Prefixes of environment variables that may be misspelt settings; others belong to other programs.
_PREFIXES = (_PREFIX, "EMAIL_", "REDIS_", "CELERY_")
#: The similarity from which a name counts as a misspelt setting: one wrong letter gives more, the names of
#: other programs, such as EMAIL_USE_TLS, give less.
_MIN_SIMILARITY = 0.85


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Report the profile, the servers of each profile, and the source of each value."""
    yield _profile(settings)
    for profile in Profile:
        yield _servers(settings.for_profile(profile), profile)
    for name in _SETTING_NAMES:
        if settings.source_of(name) != DEFAULT_SOURCE:
            yield _GROUP.ok(name, f"{masked_value(settings, name)} (from {settings.source_of(name)})")
    for variable in describe_server_variables(settings):
        yield _GROUP.ok(variable.name, f"{variable.value} (from {variable.source})")
    yield from _badly_quoted(settings)
    yield from check_names(settings)


def _badly_quoted(settings: Settings) -> Iterator[Finding]:
    """Yield a warning for each secret that a file or a tool has left white space or quotes around."""
    for name, _, text in _secrets(settings):
        if text != text.strip():
            what = "has white space or a line feed at its start or end"
        elif len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
            what = "has quotes around it, which are part of the value"
        else:
            continue
        fix = f"Remove them where {name} is set; tools such as `docker run --env-file` keep them."
        yield _GROUP.warn(f"{name} value", f"The value of {name} {what}.", fix=fix)


def _secrets(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield name, source and value of each secret that is set."""
    for name in _SETTING_NAMES:
        value, source = getattr(settings, name.lower()), settings.source_of(name)
        if source != DEFAULT_SOURCE and isinstance(value, SecretStr) and value.get_secret_value():
            yield name, source, value.get_secret_value()
    for variable in settings.server_variables:
        if variable.is_secret:
            yield variable.name, variable.source, variable.value


def env_files(settings: Settings) -> list[Path]:
    """Return the `.env` file, if it exists."""
    return [settings.env_file] if settings.env_file.is_file() else []


def secret_names(settings: Settings, origin: str) -> list[str]:
    """Return the names of secret settings whose value comes from `origin`."""
    return [name for name, source, _ in _secrets(settings) if source == origin]


def _profile(settings: Settings) -> Finding:
    origin = settings.source_of("DEBUG")
    # The default is True, so False without a source was requested with --profile.
    source = "as requested" if origin == DEFAULT_SOURCE and not settings.debug else f"from {origin}"
    return _GROUP.ok("profile", f"{settings.profile} (DEBUG={settings.debug}, {source})")


def _servers(settings: Settings, profile: Profile) -> Finding:
    return _GROUP.ok(profile, f"broker {settings.broker.masked}, results {settings.results.masked}")


def check_names(settings: Settings) -> Iterator[Finding]:
    """Yield a warning for each name that looks like a misspelt setting."""
    yield from _misnamed(
        os.environ, source="the environment", is_ours=lambda name: name.startswith(_PREFIXES)
    )
    for path in env_files(settings):
        values = dotenv_values(path, interpolate=False, encoding="utf-8-sig")
        yield from _misnamed(values, source=str(path), is_ours=lambda _: True)


def _misnamed(values: Iterable[str], *, source: str, is_ours: Callable[[str], bool]) -> Iterator[Finding]:
    """Yield a warning for each misspelt name.

    Args:
        values: the names.
        source: where they are set.
        is_ours: whether a name that is similar to a setting counts as misspelt; a name in another letter
            case, or with mailctl's prefix, always does.
    """
    for name in sorted(values):
        if name in _KNOWN_NAMES or name in _TOKEN_VARIABLES:
            continue
        if name.startswith(SERVER_PREFIX):
            continue  # a misspelt one is refused when the settings are read
        intended = name.upper() if name.upper() in _KNOWN_NAMES else ""
        if not intended and is_ours(name):
            intended = next(
                iter(difflib.get_close_matches(name, _KNOWN_NAMES, n=1, cutoff=_MIN_SIMILARITY)), ""
            )
        if intended or name.startswith(_PREFIX):
            yield _GROUP.warn(
                name,
                f"This is set in {source}, but there is no setting with this name.",
                fix=f"Did you mean {intended}?"
                if intended
                else f"Remove it, or look for the right name: {mailctl_command('config', 'show')}",
            )
