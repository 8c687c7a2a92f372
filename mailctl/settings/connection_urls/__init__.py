"""Connection URLs, which are validated before a driver parses them, and displayed without password.

Drivers disagree about the meaning of unescaped characters in a password, and quote them in their errors. A
URL that is accepted here means the same to all of them; any other is refused without quoting a part of it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import SecretStr
from pydantic_core import core_schema
from typing_extensions import override

from mailctl.settings.connection_urls.options import (
    AMQP_OPTIONS,
    ASYNCPG_OPTIONS,
    POSTGRESQL_OPTIONS,
    REDIS_OPTIONS,
    REDIS_RESULT_OPTIONS,
    SOCKET_OPTIONS,
    SQLITE_OPTIONS,
    SQLITE_URI_OPTIONS,
    TLS_OPTIONS,
    option_problem,
    word_set,
)
from mailctl.settings.connection_urls.parts import (
    InvalidUrl,
    UrlParts,
    parse_options,
    parse_scheme,
    split_url,
)
from mailctl.settings.credential_masking import mask_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from pydantic import GetCoreSchemaHandler

__all__ = [
    "BrokerUrl",
    "ConnectionUrl",
    "DatabaseUrl",
    "InvalidUrl",
    "LogUrl",
    "RedisUrl",
    "ResultBackendUrl",
    "is_foreign_scheme",
]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_REDIS = frozenset({"redis", "rediss", "sentinel"})
#: The same for messages.
_REDIS_SCHEMES = ("redis://", "rediss://", "sentinel://")
#: The scheme of kombu and Celery for Redis on a Unix socket.
_REDIS_SOCKET = "redis+socket"
_AMQP = frozenset({"amqp", "amqps", "pyamqp", "librabbitmq"})
#: Other schemes of kombu.
_OTHER_BROKERS = word_set(
    "confluentkafka consul etcd filesystem kafka memory pgmq pyro qpid SLMQ slmq SQS sqs zookeeper"
)
#: Schemes whose transports parse URLs in their own way.
_SPECIAL_BROKERS = word_set("azureservicebus azurestoragequeues gcpubsub mongodb")
#: The same for Celery's result backends.
_OTHER_RESULTS = word_set("arangodb consul cosmosdbsql couchbase couchdb dynamodb elasticsearch riak")
_SPECIAL_RESULTS = word_set("azureblockblob cache cassandra disabled file gs mongodb rpc s3")
_SQL_BROKERS = frozenset({"sqla", "sqlalchemy"})
_SQL_RESULTS = frozenset({"db", "database"})


class ConnectionUrl(SecretStr, ABC):
    """A validated connection URL.

    Args:
        secret_value: the URL.

    Raises:
        InvalidUrl: the URL is invalid.
    """

    def __init__(self, secret_value: str) -> None:
        if _CONTROL.search(secret_value):
            raise InvalidUrl("contains a control character or a line break.", fix="Write it on one line.")
        super().__init__(self._checked(secret_value))

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[object], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validated, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def _validated(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not isinstance(text, str):
            raise InvalidUrl("is not text.", fix="Give a URL.")
        return cls(text)

    @classmethod
    @abstractmethod
    def _checked(cls, text: str) -> str:
        """Return the URL in the form for drivers."""

    @property
    def scheme(self) -> str:
        """The part before `://`, or the whole URL if there is none."""
        return self.get_secret_value().partition("://")[0]

    @property
    def masked(self) -> str:
        """The URL without its password, for display."""
        return ";".join(map(mask_url, self.get_secret_value().split(";")))


class DatabaseUrl(ConnectionUrl):
    """The URL of a database."""

    #: The allowed schemes, without driver.
    backends: ClassVar[AbstractSet[str]] = frozenset(
        {"sqlite", "postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle"}
    )
    example: ClassVar[str] = "postgresql://user:password@host/name or sqlite:////folder/name.db"

    @classmethod
    @override
    def _checked(cls, text: str) -> str:
        scheme = parse_scheme(text, example=cls.example)
        backend, _, driver = scheme.partition("+")
        if backend not in cls.backends:
            raise InvalidUrl("is not the URL of a supported database.", fix=f"Use {cls.example}.")
        if backend == "sqlite":
            return _checked_sqlite(text)
        parts = split_url(text)
        if backend.startswith("postgres"):
            more = ASYNCPG_OPTIONS if driver == "asyncpg" else frozenset[str]()
            _check_options(parts, POSTGRESQL_OPTIONS | more)
        _check_database_is_named(parts)
        return str(parts)


class LogUrl(DatabaseUrl):
    """The URL of a database for the delivery log."""

    backends = frozenset({"sqlite", "postgresql", "postgres"})


class RedisUrl(ConnectionUrl):
    """The URL of a Redis server as broker and result backend."""

    @classmethod
    @override
    def _checked(cls, text: str) -> str:
        return _check_each(text, _check_redis)


class BrokerUrl(ConnectionUrl):
    """The URL of a broker, or several separated by semicolons, which are tried in turn."""

    @classmethod
    @override
    def _checked(cls, text: str) -> str:
        return _check_each(text, _check_broker)


class ResultBackendUrl(ConnectionUrl):
    """The URL of a result backend."""

    @classmethod
    @override
    def _checked(cls, text: str) -> str:
        if re.fullmatch(r"[\w.:]+", text) and text.partition(":")[0] not in _REDIS | _AMQP:
            return text  # the name of a backend, such as `disabled`
        return text if _has_scheme(text, _SPECIAL_RESULTS) else _check_each(text, _check_result_backend)


def is_foreign_scheme(url: str) -> bool:
    """Whether the scheme of a URL is none of Redis, AMQP and SQL; it may belong to a transport of the app."""
    scheme = url.partition(":")[0]
    return scheme.partition("+")[0] not in _REDIS | _AMQP | _SQL_BROKERS | _SQL_RESULTS


def _check_each(text: str, check: Callable[[str], str]) -> str:
    return ";".join(check(one) for one in text.split(";"))


def _check_redis(
    text: str, *, options: AbstractSet[str] = REDIS_OPTIONS, schemes: tuple[str, ...] = _REDIS_SCHEMES
) -> str:
    """Check the URL of a Redis server.

    Args:
        text: the URL.
        options: the known options.
        schemes: the schemes that the setting accepts, for the error message.
    """
    scheme = parse_scheme(text, example="redis://:password@host:6379/0")
    if scheme == _REDIS_SOCKET:
        return _check_redis_socket(text)
    if scheme not in _REDIS:
        raise _unknown_scheme(scheme, known=schemes)
    parts = split_url(text)
    _check_server_is_named(parts)
    _check_options(parts, options)
    if not re.fullmatch(r"\d{0,9}/?", parts.path or ""):
        raise InvalidUrl(
            "does not end with the number of a database.", fix="End it with /0 or another number."
        )
    if scheme == "redis" and any(name in TLS_OPTIONS for name, _ in parts.options):
        raise InvalidUrl("has TLS options, but its scheme is redis.", fix="Use rediss:// for TLS.")
    return str(parts)


def _check_redis_socket(text: str) -> str:
    # kombu and Celery remove "redis+" and parse the rest.
    parts = split_url(text)
    _check_options(parts, SOCKET_OPTIONS)
    if parts.host or not parts.path:
        raise InvalidUrl("names no socket.", fix="Use redis+socket:///PATH?virtual_host=0.")
    return str(parts)


def _check_broker(text: str) -> str:
    if _has_scheme(text, _SPECIAL_BROKERS):
        return text
    if _has_scheme(text, _OTHER_BROKERS):
        return str(split_url(text))
    scheme = parse_scheme(text, example="redis://:password@host:6379/0")
    if scheme.partition("+")[0] in _SQL_BROKERS and "+" in scheme:
        return _check_prefixed_database(text)
    if scheme not in _AMQP:
        return _check_redis(text, schemes=(*_REDIS_SCHEMES, "amqp://"))
    parts = split_url(text)
    _check_server_is_named(parts)
    _check_options(parts, AMQP_OPTIONS)
    return str(parts)


def _check_result_backend(text: str) -> str:
    if _has_scheme(text, _OTHER_RESULTS):
        return str(split_url(text))
    scheme = parse_scheme(text, example="redis://:password@host:6379/0")
    if scheme.partition("+")[0] in _SQL_RESULTS and "+" in scheme:
        return _check_prefixed_database(text)
    return _check_redis(text, options=REDIS_RESULT_OPTIONS, schemes=(*_REDIS_SCHEMES, "rpc://"))


def _check_prefixed_database(text: str) -> str:
    prefix, _, url = text.partition("+")
    return f"{prefix}+{DatabaseUrl(url).get_secret_value()}"


def _has_scheme(text: str, schemes: AbstractSet[str]) -> bool:
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.partition("+")[0] in schemes


def _unknown_scheme(scheme: str, *, known: tuple[str, ...]) -> InvalidUrl:
    if scheme in ("valkey", "valkeys"):
        return InvalidUrl(
            "has the scheme of Valkey, which Celery does not support.",
            fix=f"Use {'rediss' if scheme == 'valkeys' else 'redis'}://: Valkey speaks the same protocol.",
        )
    *more, last = known
    return InvalidUrl("has a scheme that is not supported.", fix=f"Use {', '.join(more)} or {last}.")


def _check_options(parts: UrlParts, known: AbstractSet[str]) -> None:
    reason, fix = option_problem(parts.options, known)
    if reason:
        raise InvalidUrl(reason, fix=fix)


def _check_server_is_named(parts: UrlParts) -> None:
    if not parts.host and (parts.username or parts.password or parts.port):
        raise InvalidUrl("names no host.", fix="Write the host after the @.")


def _check_database_is_named(parts: UrlParts) -> None:
    named_otherwise = {"dbname", "service"} & {name for name, _ in parts.options}
    if not parts.path and not named_otherwise:
        raise InvalidUrl("names no database.", fix="End it with /NAME.")


def _checked_sqlite(text: str) -> str:
    _, _, rest = text.partition("://")
    location, _, query = rest.partition("?")
    if not location.startswith("/") or location in ("/", "/:memory:"):
        raise InvalidUrl(
            "names no file.",
            fix="Use sqlite:///NAME for a file in the working directory, or sqlite:////FOLDER/NAME.",
        )
    options = parse_options(query)
    is_uri = dict(options).get("uri", "").lower() in ("1", "true")
    reason, fix = option_problem(options, SQLITE_URI_OPTIONS if is_uri else SQLITE_OPTIONS)
    if reason:
        raise InvalidUrl(reason, fix=fix)
    return text
