"""The fields of the settings: names, types, defaults and limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from mailctl.errors import InvalidInput
from mailctl.settings.connection_urls import BrokerUrl, DatabaseUrl, LogUrl, RedisUrl, ResultBackendUrl
from mailctl.settings.hosts import validate_host, validate_mail_host
from mailctl.settings.secret_keys import DEVELOPMENT_SECRET_KEY
from mailctl.timefmt import parse_share

_DAY_SECONDS = 86_400
_YEAR_SECONDS = 366 * _DAY_SECONDS
#: Characters that no file name, header or driver accepts; lone surrogates stand for bytes that are not UTF-8.
_FORBIDDEN_CHARACTERS = re.compile(r"[\x00\ud800-\udfff]")
#: A name of MAILCTL_WEB_HOSTS.
_WEB_HOST = re.compile(r"\*|(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
#: A host name in ASCII, or an address literal (RFC 5321 section 4.1.3).
_HELO_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[A-Za-z0-9:.]{2,60}\]")
#: What Redis accepts as a name of a client.
_REDIS_NAME = re.compile(r"[!-~]{0,100}")
#: The end of an address without brackets: no top-level domain is a number.
_NUMBER_AT_END = re.compile(r"(?:.*\.)?\d+")


def validate_helo_name(value: str) -> str:
    """Return a name for EHLO, which may be empty; raise ValueError if it is none."""
    if value and (not _HELO_NAME.fullmatch(value) or _NUMBER_AT_END.fullmatch(value)):
        raise ValueError("must be a host name with its domain, or an address in square brackets")
    return value


class SettingsFields(BaseSettings):
    """Every setting, under the names that the web service uses; names are case-sensitive.

    Values come from the caller alone; an empty value means "not set". Unknown names are ignored.
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
    #: An ACL user of Redis; "" for the default user.
    redis_username: str = ""
    redis_password: SecretStr | None = None
    redis_url: RedisUrl | None = None
    #: The name of the master, for sentinel:// URLs.
    redis_sentinel_master: str = "mymaster"
    #: The password of the Sentinels.
    redis_sentinel_password: SecretStr | None = None
    #: What the names of all keys in Redis begin with.
    redis_key_prefix: str = ""
    #: The name of the connections in CLIENT LIST.
    redis_client_name: str = ""
    celery_broker_url: BrokerUrl | None = None
    celery_result_backend: ResultBackendUrl | None = None
    #: Seconds after which Celery kills a task.
    celery_task_time_limit: int = Field(default=1800, ge=1, le=_YEAR_SECONDS)
    #: Seconds after which Celery deletes a result.
    celery_result_expires: int = Field(default=3600, ge=1, le=_YEAR_SECONDS)
    celery_queue_default: str = "celery"

    email_enabled: bool = False
    #: A host, or unix:/PATH for a Unix socket.
    email_host: str = "localhost"
    email_port: int = Field(default=587, ge=1, le=65535)
    email_host_user: str = ""
    email_host_password: SecretStr = SecretStr("")
    email_from_address: str = "noreply@example.com"
    email_from_name: str = ""
    email_tls: Literal["starttls", "implicit", "none"] = "starttls"
    email_ca_file: Path | None = None
    #: How to sign in; `auto` takes the first of plain, login and cram-md5 that the server offers.
    email_auth: Literal["auto", "plain", "login", "cram-md5", "xoauth2"] = "auto"
    #: A function that returns the access token for xoauth2, as MODULE:CALLABLE.
    email_oauth_token: str = ""
    #: A command that prints the access token for xoauth2.
    email_oauth_token_command: SecretStr = SecretStr("")
    #: The certificate by which this host identifies itself, and its key if that is in another file; PEM.
    email_tls_client_cert: Path | None = None
    email_tls_client_key: Path | None = None
    #: The name in EHLO; "" for that of this host.
    email_helo_name: str = ""
    #: A TOML or JSON file with more mail servers, and which emails go by which.
    mailctl_servers: Path | None = None

    #: A service's own Celery app, as MODULE:ATTRIBUTE.
    mailctl_app: str = ""
    mailctl_home: Path = Path(".mailctl")
    #: The delivery log; None for a SQLite file in `mailctl_home`.
    mailctl_database_url: LogUrl | None = None
    #: SQL with `:id` that returns id, email, username and first_name of one user.
    mailctl_users_query: str = ""
    #: SQL without parameters that returns the same columns of all users.
    mailctl_users_list_query: str = ""
    #: The folder of the service's own templates, which come before the built-in ones.
    mailctl_templates: Path | None = None
    #: The service's own kinds of email, as MODULE (for its KINDS) or MODULE:ATTRIBUTE.
    mailctl_catalog: str = ""
    #: The service's own email tasks and their arguments, as MODULE:ATTRIBUTE.
    mailctl_tasks: str = ""
    #: A function that makes the tokens of links that come without one, as MODULE:ATTRIBUTE.
    mailctl_link_mint: str = ""
    #: The function that says what the values mean that the service's own tasks return, as MODULE:CALLABLE.
    mailctl_result_outcome: str = ""
    #: Whether links carry the tokens of the service as they are, or sealed by `mailctl.links`.
    mailctl_link_tokens: Literal["as-given", "sealed"] = "as-given"
    #: The paths of links, as PURPOSE=PATH, comma-separated; {token} stands for the token.
    mailctl_link_paths: str = ""
    #: Other names of templates for `send_email`, as NAME=TEMPLATE, comma-separated.
    mailctl_template_aliases: str = ""
    #: Earlier values of SECRET_KEY, which still decrypt: one per line, or a JSON list.
    mailctl_secret_keys_old: SecretStr = SecretStr("")
    #: Additional origins that links in messages of other programs may lead to, comma-separated.
    mailctl_link_origins: str = ""
    #: The allowed recipients: addresses, @domain and *.domain, comma-separated; "" for everybody.
    mailctl_recipients_allow: str = ""
    #: An address that gets all mail instead of the intended recipients.
    mailctl_redirect_to: str = ""
    #: Rate limits for one address, as KIND=NUMBER/UNIT, comma-separated.
    mailctl_limit_per_recipient: str = "reset=5/h,verification=5/h,new-ip=10/h"
    #: Rate limits for one user, in the same form.
    mailctl_limit_per_user: str = ""
    #: Rate limits for one block of IP addresses, where the service gives the `source` of its calls.
    mailctl_limit_per_source: str = "reset=50/h,verification=50/h,new-ip=100/h"
    #: The rate limit for all email, as NUMBER/UNIT; emails above it wait.
    mailctl_limit_global: str = ""
    #: How fast the default mail server gets email from all workers together, as NUMBER/UNIT; "" for no limit.
    mailctl_rate: str = ""
    #: The same for recipients in a domain, as DOMAIN=NUMBER/UNIT, comma-separated.
    mailctl_rate_per_domain: str = ""
    #: The address for replies, instead of the sender's.
    mailctl_reply_to: str = ""
    #: The address to which mail servers return what they cannot deliver; "" for the sender's.
    mailctl_bounce_address: str = ""
    #: Whether mail servers are asked for a report of each delivery as well, not only of failures and delays.
    mailctl_notify_success: bool = False
    #: A Maildir in which bounces and complaints arrive.
    mailctl_feedback_maildir: Path | None = None
    #: Where `mailctl feedback watch` listens for mail, as HOST:PORT of this host or the path of a socket.
    mailctl_feedback_lmtp: str = ""
    #: A mailbox in which bounces and complaints arrive, as imaps://USER@HOST/FOLDER,FOLDER.
    mailctl_feedback_imap: str = ""
    mailctl_feedback_imap_password: SecretStr = SecretStr("")
    #: A command that prints the access token for XOAUTH2, instead of the password.
    mailctl_feedback_imap_token_command: SecretStr = SecretStr("")
    #: The share of hard bounces, and of complaints, at which a campaign pauses itself.
    mailctl_campaign_max_bounced: str = "5%"
    mailctl_campaign_max_complained: str = "0.3%"
    #: Additional headers, as a JSON object of names and values, or of values by kind.
    mailctl_headers: str = ""
    #: A TOML or JSON file with more senders, and which emails have which.
    mailctl_senders: Path | None = None
    #: The host names that the dashboard answers to, comma-separated; `*.` for subdomains, `*` for all.
    mailctl_web_hosts: str = ""
    #: What proves who calls the webhooks of providers, as a JSON object: PROVIDER: SECRET or [SECRET, …].
    mailctl_webhook_secrets: SecretStr = SecretStr("")
    #: The public address of the endpoint for unsubscribing, of `mailctl.feedback.router`.
    mailctl_unsubscribe_url: str = ""
    mailctl_messages: Literal["auto", "reference", "full"] = "auto"
    mailctl_on_ambiguous: Literal["resend", "hold"] = "resend"
    #: How often an email is sent again by itself after attempts whose outcome is unknown.
    mailctl_ambiguous_resends: int = Field(default=2, ge=0, le=100)
    #: Whether calls, claims and outcomes wait until they are on the disk of the delivery log.
    mailctl_durability: Literal["durable", "relaxed"] = "durable"
    #: The lease of a claim in seconds, after which another worker may claim the email.
    mailctl_lease_seconds: int = Field(default=60, ge=5, le=_DAY_SECONDS)
    #: Seconds before the first retry, without jitter; they double with each attempt.
    mailctl_retry_first_seconds: float = Field(default=10, gt=0, le=_DAY_SECONDS)
    #: The longest wait before a retry, in seconds.
    mailctl_retry_cap_seconds: float = Field(default=900, gt=0, le=_YEAR_SECONDS)
    #: Seconds after which an idempotency key can be used again.
    mailctl_idempotency_seconds: int = Field(default=86400, ge=1, le=_YEAR_SECONDS)
    #: The largest number of SMTP sessions of one worker process.
    mailctl_smtp_connections: int = Field(default=56, ge=1, le=64)
    #: Seconds for connecting and for each SMTP command.
    mailctl_smtp_timeout_seconds: float = Field(default=30, gt=0, le=_DAY_SECONDS)
    #: Seconds to wait for the reply to a message body (RFC 5321 section 4.5.3.2.6 requires 600).
    mailctl_smtp_data_timeout_seconds: float = Field(default=600, gt=0, le=_DAY_SECONDS)

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
        """Read no source but the arguments."""
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _empty_means_default(cls, value: Any, info: Any) -> Any:
        if isinstance(value, str) and _FORBIDDEN_CHARACTERS.search(value):
            raise ValueError("is not UTF-8 text, or contains a NUL")
        if value == "" and info.field_name in cls.model_fields:
            return cls.model_fields[info.field_name].get_default()
        return value

    @field_validator("redis_key_prefix", "redis_client_name")
    @classmethod
    def _check_redis_name(cls, value: str) -> str:
        if not _REDIS_NAME.fullmatch(value):
            raise ValueError("must be at most 100 printable ASCII characters without blanks")
        return value

    @field_validator("email_helo_name")
    @classmethod
    def _check_helo_name(cls, value: str) -> str:
        return validate_helo_name(value)

    @field_validator("mailctl_campaign_max_bounced", "mailctl_campaign_max_complained")
    @classmethod
    def _check_share(cls, value: str) -> str:
        try:
            parse_share(value, field="the share")
        except InvalidInput:
            raise ValueError("must be a share from 0% to 100%, such as 5% or 0.05") from None
        return value

    @field_validator("redis_host")
    @classmethod
    def _check_host_name(cls, value: str) -> str:
        return validate_host(value)

    @field_validator("email_host")
    @classmethod
    def _check_mail_host(cls, value: str) -> str:
        return validate_mail_host(value)

    @field_validator("mailctl_web_hosts")
    @classmethod
    def _check_web_hosts(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",") if name.strip()]
        if not all(_WEB_HOST.fullmatch(name) for name in names):
            raise ValueError("must be host names without scheme, port and path, such as mail.example.com")
        return value
