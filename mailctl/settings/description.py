"""Settings as an operator may read them: value without secrets, and source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import SecretStr

from mailctl.settings.connection_urls import ConnectionUrl
from mailctl.settings.credential_masking import MASK, mask_url

if TYPE_CHECKING:
    from mailctl.settings import Settings

DEFAULT_SOURCE = "default"


@dataclass(frozen=True, kw_only=True)
class SettingDescription:
    """One setting."""

    name: str
    #: The value with its secrets masked; "set" or "empty" for one that is a secret as a whole.
    value: str
    #: environment, the path of the file, or default.
    source: str

    @property
    def is_default(self) -> bool:
        """Whether nothing sets it."""
        return self.source == DEFAULT_SOURCE


def describe_settings(settings: Settings) -> list[SettingDescription]:
    """Return every setting, in the order of `.env.example`; last the variables of named mail servers."""
    names = [field.upper() for field in type(settings).model_fields]
    fields = [
        SettingDescription(name=name, value=masked_value(settings, name), source=settings.source_of(name))
        for name in names
    ]
    return [*fields, *describe_server_variables(settings)]


def describe_server_variables(settings: Settings) -> list[SettingDescription]:
    """Return the variables MAILCTL_SERVER_<NAME>_* that are set."""
    given = settings.server_variables
    secrets = {(each.server, each.value) for each in given if each.is_secret}
    return [
        SettingDescription(
            name=each.name,
            # Some services use one token as both user name and password.
            value="set" if (each.server, each.value) in secrets else mask_url(each.value),
            source=each.source,
        )
        for each in given
    ]


def masked_value(settings: Settings, name: str) -> str:
    """Return the value of a setting with its secrets masked."""
    value = getattr(settings, name.lower())
    if isinstance(value, ConnectionUrl):
        return value.masked
    if isinstance(value, SecretStr):
        return "set" if value.get_secret_value() else "empty"
    if name == "EMAIL_HOST_USER" and value and value == settings.email_host_password.get_secret_value():
        return f"{MASK} (the same as EMAIL_HOST_PASSWORD)"  # some services use one token for both
    return "empty" if value is None else mask_url(value) or "empty"
