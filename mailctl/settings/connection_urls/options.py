"""The options of connection URLs that drivers know, and the form of their values."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(text.split())


TLS_OPTIONS = word_set(
    "ssl_ca_certs ssl_ca_path ssl_cert_reqs ssl_certfile ssl_check_hostname ssl_ciphers ssl_keyfile "
    "ssl_password"
)
#: Values of `ssl_cert_reqs`: those with which certificates are not verified, and all.
UNVERIFIED = word_set("none CERT_NONE")
_VERIFICATIONS = UNVERIFIED | word_set("optional required CERT_OPTIONAL CERT_REQUIRED")
_REDIS_NUMBERS = word_set(
    "db health_check_interval max_connections protocol socket_connect_timeout socket_timeout virtual_host"
)
REDIS_OPTIONS = TLS_OPTIONS | {"credential_provider"}
#: Celery's result backend knows more options than kombu.
REDIS_RESULT_OPTIONS = (
    REDIS_OPTIONS
    | _REDIS_NUMBERS
    | word_set("client_name password retry_on_timeout socket_keepalive username")
)
SOCKET_OPTIONS = word_set("password username virtual_host")
AMQP_OPTIONS = TLS_OPTIONS | {"login_method"}
#: An option of psycopg: the number of executions before a statement is prepared; `none` for never, which
#: PgBouncer may require. Without it, only transactions that are repeated prepare any, on a direct connection.
PREPARE_THRESHOLD = "prepare_threshold"
_LIBPQ_NUMBERS = word_set(
    "connect_timeout keepalives keepalives_count keepalives_idle keepalives_interval tcp_user_timeout"
)
#: The keywords of libpq 18; older versions know fewer.
LIBPQ_OPTIONS = _LIBPQ_NUMBERS | word_set(
    "application_name channel_binding client_encoding dbname fallback_application_name gssdelegation "
    "gssencmode gsslib host hostaddr krbsrvname load_balance_hosts max_protocol_version min_protocol_version "
    "oauth_client_id oauth_client_secret oauth_issuer oauth_scope options passfile password port replication "
    "require_auth requirepeer scram_client_key scram_server_key service ssl_max_protocol_version "
    "ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey sslkeylogfile "
    "sslmode sslnegotiation sslpassword sslrootcert sslsni target_session_attrs user"
)
POSTGRESQL_OPTIONS = LIBPQ_OPTIONS | {PREPARE_THRESHOLD}
#: Options of the asynchronous driver, which are removed for the synchronous one.
ASYNCPG_OPTIONS = word_set(
    "async_fallback command_timeout max_cacheable_statement_size max_cached_statement_lifetime "
    "prepared_statement_cache_size prepared_statement_name_func ssl statement_cache_size timeout"
)
SQLITE_OPTIONS = word_set("cached_statements check_same_thread timeout uri")
#: Options of SQLite itself, with `uri=true`.
SQLITE_URI_OPTIONS = SQLITE_OPTIONS | word_set("cache immutable mode nolock psow vfs")
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,9})?")
_PORTS = re.compile(r"\d{1,5}(?:,\d{1,5})*")
_THRESHOLD = re.compile(r"\d{1,9}|none", re.IGNORECASE)
#: The form of the values of options, if their driver does not explain it well.
_FORMS: dict[str, tuple[Callable[[str], object], str]] = {
    **dict.fromkeys(
        _REDIS_NUMBERS | _LIBPQ_NUMBERS | {"timeout", "cached_statements"}, (_NUMBER.fullmatch, "a number")
    ),
    **dict.fromkeys(
        ["check_same_thread", "uri"], (word_set("0 1 false true False True").__contains__, "true or false")
    ),
    "ssl_cert_reqs": (_VERIFICATIONS.__contains__, "required, optional or none"),
    "port": (_PORTS.fullmatch, "a number"),
    PREPARE_THRESHOLD: (_THRESHOLD.fullmatch, "a number, or none for a PgBouncer that cannot prepare"),
}


def option_problem(options: Iterable[tuple[str, str]], known: AbstractSet[str]) -> tuple[str, str]:
    """Return what is wrong with options, and what to do about it; two empty texts if nothing is.

    An unknown name is not quoted, because it may be part of a password.

    Args:
        options: names and values.
        known: the names that the driver knows.
    """
    for name, value in options:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            fix = f"Did you mean {close[0]}?" if close else "Remove it."
            return "has an option that its driver does not know.", fix
        is_good, form = _FORMS.get(name, (bool, ""))
        if form and not is_good(value):
            return f"has an option {name} that is not {form.partition(',')[0]}.", f"Use {form}."
    return "", ""
