"""A first `.env` file: the answers of an operator, a secret key made for them, and their checks."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from mailctl.domain.address_validation import validate_address
from mailctl.errors import ConfigurationError, InvalidInput, Refused
from mailctl.settings import Settings
from mailctl.settings.connection_urls.parts import InvalidUrl
from mailctl.settings.connection_urls.web import parse_web_url
from mailctl.settings.invalid_settings import describe_invalid_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Bytes of the generated SECRET_KEY.
_KEY_BYTES = 48
#: Earlier files that are kept.
_MAX_EARLIER = 1000
#: Ports by how the connection is encrypted.
DEFAULT_PORTS = {"starttls": 587, "implicit": 465, "none": 25}


@dataclass(frozen=True, kw_only=True)
class NewSettings:
    """The answers that a new host needs."""

    from_address: str
    project_name: str = "Example"
    frontend_url: str = "http://localhost:3000"
    #: The mail server; "" writes emails to files instead.
    email_host: str = ""
    email_tls: str = "starttls"
    email_port: int = 587
    email_user: str = ""
    email_password: str = ""
    is_production: bool = False
    #: The Redis of production; "" for the one on this host.
    redis_url: str = ""
    #: The database of the delivery log; "" for a file.
    database_url: str = ""

    def values(self) -> dict[str, str]:
        """Return the settings by name, with a new SECRET_KEY."""
        given = {
            "DEBUG": str(not self.is_production),
            "PROJECT_NAME": self.project_name,
            "FRONTEND_URL": self.frontend_url,
            "SECRET_KEY": secrets.token_urlsafe(_KEY_BYTES),
            "REDIS_URL": self.redis_url,
            "MAILCTL_DATABASE_URL": self.database_url,
            "EMAIL_FROM_ADDRESS": validate_address(self.from_address, field="EMAIL_FROM_ADDRESS"),
            "EMAIL_ENABLED": str(bool(self.email_host)),
        }
        if self.email_host:
            given |= {
                "EMAIL_HOST": self.email_host,
                "EMAIL_PORT": str(self.email_port),
                "EMAIL_TLS": self.email_tls,
                "EMAIL_HOST_USER": self.email_user,
                "EMAIL_HOST_PASSWORD": self.email_password,
            }
        return {name: value for name, value in given.items() if value}


@dataclass(frozen=True, kw_only=True)
class WrittenFile:
    """A file of settings that was written."""

    #: The settings as they are read from it.
    settings: Settings
    #: Where the file is now that it has replaced; None if there was none.
    earlier: Path | None


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that exists, unless it is to be replaced.

    Raises:
        Refused: the file exists.
    """
    if path.exists() and not overwrite:
        raise _existing(path)


def write_env_file(path: Path, values: dict[str, str], *, overwrite: bool) -> WrittenFile:
    """Write settings to a new file that only this user may read.

    Args:
        path: the file.
        values: the settings by name.
        overwrite: whether an existing file is replaced. It is kept under another name: emails may be
            encrypted with its SECRET_KEY.

    Raises:
        ConfigurationError: a value is invalid, or the file cannot be written.
        Refused: the file exists.
    """
    check_answers(values)
    text = "".join(f"{name}={_quoted(value)}\n" for name, value in values.items())
    try:
        earlier = _put_aside(path) if overwrite else None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise _existing(path) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written ({error.strerror}).") from error
    return WrittenFile(settings=Settings.load(path), earlier=earlier)


def _existing(path: Path) -> Refused:
    return Refused(
        f"{path} exists; nothing was changed.",
        fix="Add --force to replace it, or use another --env-file.",
    )


def _put_aside(path: Path) -> Path | None:
    """Rename an existing file, and return its new name; None if there is none.

    Raises:
        OSError: it cannot be renamed.
    """
    if not path.exists():
        return None
    numbers = ("", *map(str, range(2, _MAX_EARLIER)))
    earlier = next(
        name for number in numbers if not (name := path.with_name(f"{path.name}.old{number}")).exists()
    )
    path.rename(earlier)
    earlier.chmod(0o600)
    return earlier


def check_answers(values: Mapping[str, str]) -> None:
    """Check settings, or some of them.

    Args:
        values: the settings by name.

    Raises:
        ConfigurationError: a value is invalid.
        InvalidInput: it is, because of what `init` asks for.
    """
    for name, value in values.items():
        if any(not char.isprintable() for char in value):
            raise InvalidInput(name, "contains a control character.")
    try:
        Settings(**cast("dict[str, Any]", values))
    except ValidationError as error:
        raise describe_invalid_settings(error, dict.fromkeys(values, "your answer"), fix="") from None
    if address := values.get("EMAIL_FROM_ADDRESS"):
        validate_address(address, field="EMAIL_FROM_ADDRESS")
    if url := values.get("FRONTEND_URL"):
        try:
            parse_web_url(url)
        except InvalidUrl as error:
            raise InvalidInput("FRONTEND_URL", str(error), fix=error.fix) from None


def _quoted(value: str) -> str:
    """Return a value as a `.env` file holds it; quotes keep spaces, # and $."""
    if value.replace("_", "").replace("-", "").replace(".", "").isalnum() and value.isascii():
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
