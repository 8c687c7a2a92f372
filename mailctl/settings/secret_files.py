"""Secrets in files: NAME_FILE names the file that holds the value of NAME (Docker and Kubernetes secrets)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from mailctl.errors import ConfigurationError
from mailctl.settings.fields import SettingsFields

if TYPE_CHECKING:
    from collections.abc import Mapping

SUFFIX = "_FILE"
#: The largest file in bytes.
_LARGEST_FILE = 65_536


def secret_settings() -> list[str]:
    """Return the names of the settings whose values are secret."""
    return [
        name.upper() for name, field in SettingsFields.model_fields.items() if _is_secret(field.annotation)
    ]


def secret_file_names() -> list[str]:
    """Return the names of the settings that name a file with a secret."""
    return [name + SUFFIX for name in secret_settings()]


def read_secret_files(given: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the secrets that files hold, each with the name of its file.

    Args:
        given: the values of settings and of names of files, from one source.

    Raises:
        ConfigurationError: a file cannot be read, or a secret is given in both ways.
    """
    found: dict[str, tuple[str, str]] = {}
    for name in secret_settings():
        path = given.get(name + SUFFIX)
        if not path:
            continue
        if given.get(name):
            raise ConfigurationError(
                f"{name} and {name}{SUFFIX} are both set.", fix="Remove one of them: they may differ."
            )
        found[name] = (read_secret_file(Path(path), name + SUFFIX), path)
    return found


def read_secret_file(path: Path, name: str) -> str:
    """Return the secret in a file, without the line end after it.

    Args:
        path: the file.
        name: what names it, for error messages.

    Raises:
        ConfigurationError: the file cannot be read, or is empty.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        text = content.decode("utf-8-sig")  # editors on Windows begin files with a byte order mark
    except OSError as error:
        raise ConfigurationError(
            f"{name}: the file {path} cannot be read: {error.strerror or type(error).__name__}.",
            fix="Name a file that the user of this process can read.",
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"{name}: the file {path} is not UTF-8 text.", fix="Correct the file."
        ) from None
    if len(content) > _LARGEST_FILE:
        raise ConfigurationError(f"{name}: the file {path} is too large.", fix="Name a file with one secret.")
    # Editors and `echo` end the file with a line feed, which is no part of the secret.
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ConfigurationError(
            f"{name}: the file {path} is empty.", fix=f"Write the secret to it, or remove {name}."
        )
    return secret


def _is_secret(annotation: object) -> bool:
    parts = getattr(annotation, "__args__", (annotation,))
    return any(isinstance(part, type) and issubclass(part, SecretStr) for part in parts)
