"""The environment, read once: every setting, its default, and where its value came from."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from dotenv.parser import Binding, parse_stream
from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from mailctl.connection_urls import (
    BrokerUrl,
    ConnectionUrl,
    DatabaseUrl,
    InvalidUrl,
    LogUrl,
    RedisUrl,
    ResultBackendUrl,
)
from mailctl.errors import ConfigurationError
from mailctl.secret_keys import DEVELOPMENT_SECRET_KEY, check_keys

MEMORY_BROKER = "memory://"
#: The queue of campaigns, whose emails travel in batches and behind all others.
BULK_QUEUE = "mailctl.bulk"
MEMORY_BACKEND = "cache+memory://"
_DAY_SECONDS = 86_400
_YEAR_SECONDS = 366 * _DAY_SECONDS
#: No file name, header or driver takes these; half a surrogate pair stands for a byte that is no UTF-8.
_FORBIDDEN_CHARACTERS = re.compile(r"[\x00\ud800-\udfff]")
#: A setting whose value begins with a quote.
_OPEN_QUOTE = re.compile(r"""(?:export\s+)?[^=\s]+\s*=\s*(?P<quote>["'])""")
#: A line within a value that gives a setting.
_ASSIGNMENT = re.compile(r"\n(?:export )?([A-Z][A-Z0-9_]*)=")
#: A name, an IPv4 address, or an IPv6 address with or without its zone.
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)*\.?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?")


class Profile(StrEnum):
    """The two ways to run: `DEBUG=True` needs no server, `DEBUG=False` uses Redis."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class ExplicitSettings(BaseSettings):
    """Settings that read nothing behind the caller's back."""

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what the caller gives and nothing else."""
        return (init_settings,)


class Settings(ExplicitSettings):
    """Every setting, under the names that the web service uses; case as given, unknown names ignored.

    Values come from the environment, then from the `.env` file, then from the defaults here. An empty value
    means "not set".
    """

    model_config = SettingsConfigDict(
        alias_generator=str.upper,
        validate_by_name=True,
        case_sensitive=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    debug: bool = True
    project_name: str = "Example"
    frontend_url: str = "http://localhost:3000"
    secret_key: SecretStr = SecretStr(DEVELOPMENT_SECRET_KEY)
    database_url: DatabaseUrl | None = None

    redis_host: str = "localhost"
    redis_port: int = Field(default=6379, ge=1, le=65535)
    redis_db: int = Field(default=0, ge=0, le=999_999)
    redis_password: SecretStr | None = None
    redis_url: RedisUrl | None = None
    #: The name under which Sentinels know the master, when the address is sentinel://.
    redis_sentinel_master: str = "mymaster"
    #: The password of the Sentinels themselves.
    redis_sentinel_password: SecretStr | None = None
    celery_broker_url: BrokerUrl | None = None
    celery_result_backend: ResultBackendUrl | None = None
    #: Seconds after which Celery kills a task.
    celery_task_time_limit: int = Field(default=1800, ge=1, le=_YEAR_SECONDS)
    #: Seconds for which Celery keeps a result.
    celery_result_expires: int = Field(default=3600, ge=1, le=_YEAR_SECONDS)
    celery_queue_default: str = "celery"

    email_enabled: bool = False
    email_host: str = "localhost"
    email_port: int = Field(default=587, ge=1, le=65535)
    email_host_user: str = ""
    email_host_password: SecretStr = SecretStr("")
    email_from_address: str = "noreply@example.com"
    email_from_name: str = ""
    email_tls: Literal["starttls", "implicit", "none"] = "starttls"
    email_ca_file: Path | None = None

    #: A service's own Celery app, as MODULE:ATTRIBUTE.
    mailctl_app: str = ""
    mailctl_home: Path = Path(".mailctl")
    #: The delivery log; SQLite in `mailctl_home` when empty.
    mailctl_database_url: LogUrl | None = None
    #: SQL with `:id` that gives id, email, username, first_name of one user.
    mailctl_users_query: str = ""
    #: SQL without parameters that gives the same columns of all users.
    mailctl_users_list_query: str = ""
    #: A folder of the service's own templates, looked in first.
    mailctl_templates: Path | None = None
    #: The service's own kinds of email, as MODULE (its KINDS) or MODULE:ATTRIBUTE.
    mailctl_catalog: str = ""
    #: A callable MODULE:ATTRIBUTE that makes the `t` of a link instead of `mailctl.links`.
    mailctl_link_mint: str = ""
    #: Earlier values of SECRET_KEY, comma-separated: they still open what they sealed.
    mailctl_secret_keys_old: SecretStr = SecretStr("")
    #: More origins, comma-separated, that links in messages of other programs may lead to.
    mailctl_link_origins: str = ""
    #: Whom this environment may mail: addresses, @domain and *.domain, comma-separated; empty for everybody.
    mailctl_recipients_allow: str = ""
    #: One address that gets all mail instead of those whom it was meant for.
    mailctl_redirect_to: str = ""
    #: Emails of a kind to one address, as KIND=NUMBER/UNIT, comma-separated.
    mailctl_limit_per_recipient: str = "reset=5/h,verification=5/h,new-ip=10/h"
    #: Emails of a kind to one user, whatever the address.
    mailctl_limit_per_user: str = ""
    #: Emails over all; more wait.
    mailctl_limit_global: str = ""
    #: Where readers' answers go instead of to the sender.
    mailctl_reply_to: str = ""
    #: More headers of every email, as a JSON object of names and values.
    mailctl_headers: str = ""
    mailctl_messages: Literal["auto", "reference", "full"] = "auto"
    mailctl_on_ambiguous: Literal["resend", "hold"] = "resend"
    #: Seconds for which a claim holds before another worker may take the email over.
    mailctl_lease_seconds: int = Field(default=60, ge=5, le=_DAY_SECONDS)
    #: Seconds before the first retry, before jitter; it doubles with each attempt.
    mailctl_retry_first_seconds: float = Field(default=10, gt=0, le=_DAY_SECONDS)
    #: Seconds that a retry waits at most.
    mailctl_retry_cap_seconds: float = Field(default=900, gt=0, le=_YEAR_SECONDS)
    #: Seconds for which an idempotency key is remembered.
    mailctl_idempotency_seconds: int = Field(default=86400, ge=1, le=_YEAR_SECONDS)
    #: SMTP sessions that one worker process keeps at most.
    mailctl_smtp_connections: int = Field(default=4, ge=1, le=64)
    #: Seconds for connecting and for each SMTP command.
    mailctl_smtp_timeout_seconds: float = Field(default=30, gt=0, le=_DAY_SECONDS)
    #: Seconds to wait for the reply to a message body (RFC 5321 section 4.5.3.2.6 asks for 600).
    mailctl_smtp_data_timeout_seconds: float = Field(default=600, gt=0, le=_DAY_SECONDS)

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)
    _env_file: Path = PrivateAttr(default=Path(".env"))

    @field_validator("*", mode="before")
    @classmethod
    def _empty_means_default(cls, value: Any, info: Any) -> Any:
        if isinstance(value, str) and _FORBIDDEN_CHARACTERS.search(value):
            raise ValueError("is not UTF-8 text, or holds a NUL")
        if value == "" and info.field_name in cls.model_fields:
            return cls.model_fields[info.field_name].get_default()
        return value

    @field_validator("redis_host", "email_host")
    @classmethod
    def _check_host_name(cls, value: str) -> str:
        if not _HOST.fullmatch(value):
            raise ValueError("is not the name or the IP address of a host: no scheme, port, path or password")
        return value

    @classmethod
    def load(cls, env_file: Path | None = None) -> Settings:
        """Read the environment and the `.env` file.

        Args:
            env_file: the file to read; None reads `.env` in the working directory if there is one.

        Returns:
            The settings.

        Raises:
            ConfigurationError: the file cannot be read, or a value is not usable.
        """
        path = env_file if env_file is not None else Path(".env")
        from_file = _read_env_file(path, required=env_file is not None)
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for name in (field.upper() for field in cls.model_fields):
            if name in os.environ:
                values[name], origins[name] = os.environ[name], "environment"
            elif name in from_file:
                values[name], origins[name] = from_file[name], str(path)
        try:
            settings = cls(**values)
        except ValidationError as error:
            raise _as_configuration_error(error, origins) from None
        settings._sources.update(origins)
        settings._env_file = path
        return settings

    @property
    def env_file(self) -> Path:
        """The file that settings are read from besides the environment; it need not exist."""
        return self._env_file

    def source_of(self, name: str) -> str:
        """Return where the value of the setting `name` came from: environment, a file's path, or default."""
        return self._sources.get(name, "default")

    @property
    def profile(self) -> Profile:
        """The profile that `DEBUG` chooses."""
        return Profile.DEVELOPMENT if self.debug else Profile.PRODUCTION

    def for_profile(self, profile: Profile) -> Settings:
        """Return these settings with `DEBUG` as `profile` has it."""
        changed = self.model_copy(update={"debug": profile is Profile.DEVELOPMENT})
        changed._sources = self._sources | {"DEBUG": "the profile asked for"}
        return changed

    @property
    def broker(self) -> BrokerUrl:
        """The Celery broker: `CELERY_BROKER_URL`, else what the profile says."""
        return self.celery_broker_url or BrokerUrl(MEMORY_BROKER if self.debug else self._redis_address)

    @property
    def broker_url(self) -> str:
        """The broker as Celery is told it."""
        return _with_verified_tls(self.broker)

    @property
    def uses_memory_broker(self) -> bool:
        """Whether the broker of these settings is private to its process."""
        return self.broker_url.startswith(MEMORY_BROKER)

    @property
    def is_broker_private(self) -> bool:
        """Whether only its own process sees the broker, which is known then without asking Celery."""
        return self.uses_memory_broker and not self.mailctl_app

    @property
    def results(self) -> ResultBackendUrl:
        """The Celery result backend: `CELERY_RESULT_BACKEND`, else what the profile says."""
        return self.celery_result_backend or ResultBackendUrl(
            MEMORY_BACKEND if self.debug else self._redis_address
        )

    @property
    def result_backend(self) -> str:
        """The result backend as Celery is told it."""
        return _with_verified_tls(self.results)

    @property
    def _redis_address(self) -> str:
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        password = self.redis_password.get_secret_value() if self.redis_password else ""
        credentials = f":{quote(password, safe='')}@" if password else ""
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
        """The secrets that seal and open, the one that seals first.

        Raises:
            ConfigurationError: this is production, and one of them protects nothing.
        """
        old = self.mailctl_secret_keys_old.get_secret_value().split(",")
        keys = [self.secret_key.get_secret_value(), *(key.strip() for key in old if key.strip())]
        if not self.debug:
            check_keys(keys)
        return keys

    @property
    def sender_name(self) -> str:
        """The name that emails come from."""
        return self.email_from_name or self.project_name


def _read_env_file(path: Path, *, required: bool) -> dict[str, str]:
    if not path.exists():
        if required:
            raise ConfigurationError(f"{path}: there is no such file.", fix="Name an existing --env-file.")
        return {}
    try:
        with path.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(
            f"{path}: the file cannot be read ({reason}).", fix="Make it a text file that this user may read."
        ) from error
    for binding in bindings:
        _refuse_unreadable(binding, path)
    return {binding.key: binding.value or "" for binding in bindings if binding.key}


def _refuse_unreadable(binding: Binding, path: Path) -> None:
    """Refuse what is no setting, and a quote that is not closed: it would swallow the lines that follow."""
    text = binding.original.string.lstrip()
    # Blank lines before it belong to what was parsed.
    blank_lines = binding.original.string.removesuffix(text).count("\n")
    place = f"{path}, line {binding.original.line + blank_lines}"
    opened = _OPEN_QUOTE.match(text) if binding.error else None
    is_open = opened is not None and opened["quote"] not in text.splitlines()[0][opened.end() :]
    if is_open or _swallows_settings(binding):
        raise ConfigurationError(
            f"{place}: the quote before the value is not closed on that line.",
            fix="Close it, or leave it out.",
        )
    if opened:
        raise ConfigurationError(f"{place}: something follows the closing quote.", fix="Correct the line.")
    if binding.error:
        raise ConfigurationError(f"{place}: this is not NAME=value.", fix="Correct the line.")


def _swallows_settings(binding: Binding) -> bool:
    """Whether lines that give settings have become part of a value."""
    names = {name.lower() for name in _ASSIGNMENT.findall(binding.value or "")}
    return not names.isdisjoint(Settings.model_fields)


def _as_configuration_error(error: ValidationError, origins: dict[str, str]) -> ConfigurationError:
    problems: list[str] = []
    fixes: dict[str, None] = {}
    for problem in error.errors(include_url=False, include_input=False):
        name = "_".join(str(part) for part in problem["loc"])
        reason = problem["msg"].removeprefix("Value error, ").rstrip(".")
        problems.append(f"{name} ({origins.get(name, 'default')}): {reason}")
        cause = problem.get("ctx", {}).get("error")
        fixes[cause.fix if isinstance(cause, InvalidUrl) else "See .env.example for every setting."] = None
    return ConfigurationError("; ".join(problems) + ".", fix=" ".join(fixes))


def _with_verified_tls(url: ConnectionUrl) -> str:
    """Celery refuses a rediss:// address that does not say how to verify the certificate: strictly, then."""
    text = url.get_secret_value()
    if url.scheme != "rediss" or "ssl_cert_reqs=" in text:
        return text
    return f"{text}{'&' if '?' in text else '?'}ssl_cert_reqs=required"
