"""Reads a `.env` file, and refuses lines that do not mean what they seem to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dotenv.parser import Binding, parse_stream

from mailctl.errors import ConfigurationError
from mailctl.settings.file_owners import find_foreign_writer
from mailctl.settings.secret_files import secret_file_names
from mailctl.settings.server_variables import loads_file_or_code

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

#: Settings whose values are imported, or are templates.
CODE_SETTINGS = frozenset(
    {
        "EMAIL_OAUTH_TOKEN",
        "EMAIL_OAUTH_TOKEN_COMMAND",
        "MAILCTL_APP",
        "MAILCTL_CATALOG",
        "MAILCTL_FEEDBACK_IMAP_TOKEN_COMMAND",
        "MAILCTL_LINK_MINT",
        "MAILCTL_RESULT_OUTCOME",
        "MAILCTL_SERVERS",
        "MAILCTL_TASKS",
        "MAILCTL_TEMPLATES",
    }
)
#: The value of CELERY_RESULT_BACKEND that Celery imports: MODULE:CLASS or MODULE.CLASS.
_CLASS = re.compile(r"\w+(?:\.\w+)*[.:]\w+")
#: A setting whose value starts with a quote.
_OPEN_QUOTE = re.compile(r"""(?:export\s+)?[^=\s]+\s*=\s*(?P<quote>["'])""")
#: A line within a value that looks like a setting.
_ASSIGNMENT = re.compile(r"\n(?:export )?([A-Z][A-Z0-9_]*)=")


def read_env_file(path: Path, *, required: bool, known: Collection[str]) -> dict[str, str]:
    """Return the settings in a `.env` file, by name.

    Args:
        path: the file.
        required: whether the file must exist.
        known: the names of all settings, to find quotes that are not closed.

    Raises:
        ConfigurationError: the file is missing or cannot be read, or a line is invalid.
    """
    try:
        if not path.exists():
            if required:
                raise ConfigurationError(
                    f"The file {path} does not exist.", fix="Give --env-file an existing file."
                )
            return {}
        with path.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(
            f"{path} cannot be read ({reason}).", fix="Make it a UTF-8 text file that this user may read."
        ) from error
    for binding in bindings:
        _refuse_invalid(binding, path, known)
    return {binding.key: binding.value or "" for binding in bindings if binding.key}


def refuse_code_of_strangers(path: Path, settings: Mapping[str, str]) -> None:
    """Refuse settings that load code or files, if others could have written the file that they are in.

    Whoever runs a command in a folder of another user would run that user's code (git: safe.directory), or
    send files of their own to that user's mail server, as passwords.

    Args:
        path: the file, which was found, not named.
        settings: the settings in it that are in effect, by name.

    Raises:
        ConfigurationError: one of them does, and another user could have written it.
    """
    risky = sorted(name for name, value in settings.items() if _is_risky(name, value))
    reason = find_foreign_writer(path) if risky else ""
    if reason:
        raise ConfigurationError(
            f"{path.absolute()} sets {', '.join(risky)}, which loads code or reads a file, and {reason}.",
            fix=f"If you trust it, name it: --env-file {path}; or set {risky[0]} in the environment.",
        )


def _is_risky(name: str, value: str) -> bool:
    is_class = name == "CELERY_RESULT_BACKEND" and _CLASS.fullmatch(value) is not None
    return is_class or name in CODE_SETTINGS or name in secret_file_names() or loads_file_or_code(name)


def _refuse_invalid(binding: Binding, path: Path, known: Collection[str]) -> None:
    """Refuse a line that is not a setting, and a quote that is not closed and includes the next lines."""
    text = binding.original.string.lstrip()
    # The binding includes the blank lines before it.
    blank_lines = binding.original.string.removesuffix(text).count("\n")
    place = f"{path}, line {binding.original.line + blank_lines}"
    opened = _OPEN_QUOTE.match(text) if binding.error else None
    is_open = opened is not None and opened["quote"] not in text.splitlines()[0][opened.end() :]
    if is_open or _includes_settings(binding, known):
        raise ConfigurationError(
            f"{place}: the quote before the value is not closed on that line.",
            fix="Close or remove the quote.",
        )
    if opened:
        raise ConfigurationError(f"{place}: there is text after the closing quote.", fix="Correct the line.")
    if binding.error:
        raise ConfigurationError(f"{place}: this is not NAME=value.", fix="Correct the line.")


def _includes_settings(binding: Binding, known: Collection[str]) -> bool:
    """Whether a value of several lines includes other settings."""
    return not set(_ASSIGNMENT.findall(binding.value or "")).isdisjoint(known)
