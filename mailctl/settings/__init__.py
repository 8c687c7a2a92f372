"""The settings of a process, read once from the environment and a `.env` file."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import PrivateAttr, ValidationError

from mailctl.settings.connection_urls import BrokerUrl, ResultBackendUrl
from mailctl.settings.database_detection import find_database_signs
from mailctl.settings.env_file import read_env_file, refuse_code_of_strangers
from mailctl.settings.fields import SettingsFields
from mailctl.settings.hosts import server_address
from mailctl.settings.invalid_settings import describe_invalid_settings
from mailctl.settings.secret_files import SUFFIX, read_secret_files
from mailctl.settings.secret_keys import check_keys, parse_old_keys
from mailctl.settings.server_variables import read_server_variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.settings.connection_urls import ConnectionUrl
    from mailctl.settings.server_variables import ServerVariable

MEMORY_BROKER = "memory://"
MEMORY_BACKEND = "cache+memory://"
#: The queue of campaigns, whose emails are sent in batches and behind all other email.
BULK_QUEUE = "mailctl.bulk"
#: The queue of groups of single emails, which only mailctl's workers consume.
GROUPS_QUEUE = "mailctl.groups"


class Profile(StrEnum):
    """The two ways to run: `DEBUG=True` needs no server, `DEBUG=False` uses Redis."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class Settings(SettingsFields):
    """The settings of a process: from the environment, then from a `.env` file, then the defaults."""

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)
    _env_file: Path = PrivateAttr(default=Path(".env"))
    _server_variables: tuple[ServerVariable, ...] = PrivateAttr(default=())

    @classmethod
    def load(cls, env_file: Path | None = None) -> Settings:
        """Return the settings from the environment and a `.env` file.

        Args:
            env_file: the file to read; None for `.env` in the working directory, if it exists.

        Raises:
            ConfigurationError: the file cannot be read, or a value is invalid.
        """
        path = env_file if env_file is not None else Path(".env")
        known = [field.upper() for field in cls.model_fields]
        from_file = read_env_file(path, required=env_file is not None, known=known)
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        if env_file is None:
            refuse_code_of_strangers(path, {name: from_file[name] for name in _in_effect(from_file)})
        secrets, secrets_of_env_file = read_secret_files(os.environ), read_secret_files(from_file)
        for name in known:
            if name in secrets:
                values[name], origins[name] = secrets[name]
            elif name in os.environ:
                values[name], origins[name] = os.environ[name], "environment"
            elif from_file.get(name):
                values[name], origins[name] = from_file[name], str(path)
            elif name in secrets_of_env_file:
                values[name], origins[name] = secrets_of_env_file[name]
        variables = read_server_variables(os.environ, from_file, file=str(path))
        try:
            settings = cls(**values)
        except ValidationError as error:
            raise describe_invalid_settings(error, origins) from None
        settings._sources.update(origins)
        settings._env_file = path
        settings._server_variables = variables
        return settings

    @property
    def env_file(self) -> Path:
        """The `.env` file, which may not exist."""
        return self._env_file

    @property
    def server_variables(self) -> tuple[ServerVariable, ...]:
        """The variables MAILCTL_SERVER_<NAME>_*, which describe named mail servers."""
        return self._server_variables

    @property
    def database_signs(self) -> tuple[str, ...]:
        """The names that speak of a database of the service; none if DATABASE_URL is set."""
        return () if self.database_url is not None else find_database_signs(self._env_file)

    @property
    def resends_in_doubt(self) -> int:
        """How often an email is sent again although the mail server may have it, until it is held."""
        return 0 if self.mailctl_on_ambiguous == "hold" else self.mailctl_ambiguous_resends

    @property
    def is_durable(self) -> bool:
        """Whether what is recorded survives a crash of any process or server, from the moment it returns."""
        return self.mailctl_durability == "durable"

    def source_of(self, name: str) -> str:
        """Return the source of a setting: `environment`, the path of the file, or `default`."""
        return self._sources.get(name, "default")

    @property
    def profile(self) -> Profile:
        """The profile that `DEBUG` selects."""
        return Profile.DEVELOPMENT if self.debug else Profile.PRODUCTION

    def for_profile(self, profile: Profile) -> Settings:
        """Return these settings with the `DEBUG` of another profile."""
        changed = self.model_copy(update={"debug": profile is Profile.DEVELOPMENT})
        changed._sources = self._sources | {"DEBUG": "the requested profile"}
        return changed

    @property
    def broker(self) -> BrokerUrl:
        """The Celery broker: `CELERY_BROKER_URL`, or else the default of the profile."""
        return self.celery_broker_url or BrokerUrl(MEMORY_BROKER if self.debug else self._redis_address)

    @property
    def broker_url(self) -> str:
        """The URL of the broker for Celery."""
        return _with_verified_tls(self.broker)

    @property
    def uses_memory_broker(self) -> bool:
        """Whether the broker of these settings exists in this process only."""
        return self.broker_url.startswith(MEMORY_BROKER)

    @property
    def is_broker_private(self) -> bool:
        """Whether the broker exists in this process only, which is certain without loading an app."""
        return self.uses_memory_broker and not self.mailctl_app

    @property
    def results(self) -> ResultBackendUrl:
        """The Celery result backend: `CELERY_RESULT_BACKEND`, or else the default of the profile."""
        return self.celery_result_backend or ResultBackendUrl(
            MEMORY_BACKEND if self.debug else self._redis_address
        )

    @property
    def result_backend(self) -> str:
        """The URL of the result backend for Celery."""
        return _with_verified_tls(self.results)

    @property
    def _redis_address(self) -> str:
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        password = self.redis_password.get_secret_value() if self.redis_password else ""
        user = quote(self.redis_username, safe="")
        credentials = f"{user}:{quote(password, safe='')}@" if user or password else ""
        host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
        return f"redis://{credentials}{host}:{self.redis_port}/{self.redis_db}"

    @property
    def log_url(self) -> str:
        """The SQLAlchemy URL of the delivery log."""
        if self.mailctl_database_url is not None:
            return self.mailctl_database_url.get_secret_value()
        return f"sqlite:///{self.mailctl_home.absolute() / 'mailctl.db'}"

    @property
    def secret_keys(self) -> list[str]:
        """The secret keys for the keyring, the current one first.

        Raises:
            ConfigurationError: a key is too weak for production.
        """
        keys = self._all_keys
        if not self.debug:
            check_keys(keys)
        return keys

    @property
    def content_keys(self) -> list[str]:
        """The secret keys that decrypt stored contents, the current one first; earlier ones may be weak.

        Links are never verified with them: who can guess a key can make links.

        Raises:
            ConfigurationError: the current key is too weak for production.
        """
        keys = self._all_keys
        if not self.debug:
            check_keys(keys[:1])
        return keys

    @property
    def _all_keys(self) -> list[str]:
        old = parse_old_keys(self.mailctl_secret_keys_old.get_secret_value())
        return [self.secret_key.get_secret_value(), *old]

    @property
    def mail_server(self) -> str:
        """host:port or unix:/PATH of the mail server; "" if emails are captured."""
        return server_address(self.email_host, self.email_port) if self.email_enabled else ""

    @property
    def seals_link_tokens(self) -> bool:
        """Whether the tokens that the service gives are sealed, so that only `mailctl.links` reads them."""
        return self.mailctl_link_tokens == "sealed"

    @property
    def sender_name(self) -> str:
        """The display name of the sender."""
        return self.email_from_name or self.project_name


def _in_effect(from_file: Mapping[str, str]) -> list[str]:
    """Return the names in a `.env` file that have a value and that the environment does not override."""
    replaced = os.environ.keys()
    return [
        name
        for name, value in from_file.items()
        if value and replaced.isdisjoint({name, f"{name}{SUFFIX}", name.removesuffix(SUFFIX)})
    ]


def _with_verified_tls(url: ConnectionUrl) -> str:
    """Return a URL for Celery, which requires that rediss:// URLs say how to verify certificates."""
    text = url.get_secret_value()
    if url.scheme != "rediss" or "ssl_cert_reqs=" in text:
        return text
    return f"{text}{'&' if '?' in text else '?'}ssl_cert_reqs=required"
