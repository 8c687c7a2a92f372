"""Connections to PostgreSQL that notice a dead server, and answer within a time limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy.exc import OperationalError
from typing_extensions import override

from mailctl.delivery_log.storage.driver_errors import READ_ONLY_SQLSTATE
from mailctl.delivery_log.storage.time_limit import (
    CONNECT_TIMEOUT_SECONDS,
    has_time_limit,
    is_server_limited,
    remaining_lock_seconds,
    remaining_seconds,
)
from mailctl.settings.connection_urls.options import PREPARE_THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from sqlalchemy import Connection
    from sqlalchemy.engine import URL

#: libpq waits for so many seconds at least.
_SHORTEST_CONNECT_TIMEOUT_SECONDS = 2
#: What is different from libpq's defaults, with which a lost connection is noticed after 15 minutes (one that
#: waits for an answer) or two hours (an idle one).
_NETWORK_OPTIONS: Mapping[str, int] = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
}
#: Seconds before the limit at which the server itself gives up, so that the connection can be used again.
_SERVER_MARGIN_SECONDS = 0.3
#: The keys of a connection's information: how often it was used by what may prepare statements, whether it is
#: known to be direct, and how many seconds its session may be idle in a transaction, if that is set.
_USES, _IS_DIRECT, _IDLE_SECONDS = "mailctl_uses", "mailctl_is_direct", "mailctl_idle_seconds"
#: After so many uses it is asked whether it is direct.
_USES_BEFORE_QUESTION = 10
_NO_ANSWER = "it did not answer in time"
#: How often a statement is executed before it is prepared, the default of psycopg.
_PREPARE_THRESHOLD = 5


def connect_arguments(url: URL, *, is_writer: bool) -> dict[str, Any]:
    """Return what to connect with besides the URL, whose own options come first.

    Args:
        url: of the database.
        is_writer: whether a server that is read-only, such as a former primary, is no use.
    """
    arguments: dict[str, Any] = {
        name: value for name, value in _NETWORK_OPTIONS.items() if name not in url.query
    }
    threshold = url.query.get(PREPARE_THRESHOLD)
    is_number = isinstance(threshold, str) and threshold.isdigit()
    # PgBouncer hands a connection with prepared statements to others, and gives us one without.
    # At once, with 0, psycopg would also prepare what cannot be: several statements in one.
    arguments[PREPARE_THRESHOLD] = max(1, int(str(threshold))) if is_number else None
    if is_writer and _has_several_hosts(url) and "target_session_attrs" not in url.query:
        arguments["target_session_attrs"] = "read-write"
    return arguments


def _has_several_hosts(url: URL) -> bool:
    host = url.query.get("host", url.host or "")
    return not isinstance(host, str) or "," in host


def set_up_transaction(
    connection: Connection, *, durable: bool = True, idle_seconds: float | None = None
) -> None:
    """Set up a transaction, in one round trip at most.

    Within a time limit that the server has to keep, it gives up before that ends. All is set in the
    transaction: PgBouncer refuses start-up options, and hands a plain SET to others.

    Args:
        connection: in the transaction.
        durable: whether the transaction is on disk when its commit returns.
        idle_seconds: how long the client may be silent, such as a suspended process, before the server undoes
            the transaction and frees the rows that it has locked; None for any time.
    """
    settings = _timeouts()
    if not durable:
        settings.append("SET LOCAL synchronous_commit = off")
    if idle_seconds is not None and connection.info.get(_IDLE_SECONDS) != idle_seconds:
        settings.append(f"SET LOCAL idle_in_transaction_session_timeout = {round(idle_seconds * 1000)}")
    if settings:
        # Not `set_config`, which would be the first query: a caller may still set the isolation level.
        connection.exec_driver_sql("; ".join(settings))


def _timeouts() -> list[str]:
    """Return the statements that make the server keep the time limit, if it has to."""
    if not is_server_limited():
        return []
    seconds, lock_seconds = remaining_seconds(), remaining_lock_seconds()
    if seconds is None or lock_seconds is None:
        return []
    limit = max(1, round((seconds - _SERVER_MARGIN_SECONDS) * 1000))
    lock_limit = max(1, min(limit, round(lock_seconds * 1000)))
    return [f"SET LOCAL lock_timeout = {lock_limit}", f"SET LOCAL statement_timeout = {limit}"]


def is_direct(connection: Any) -> bool:
    """Whether a connection of psycopg is one to the server itself, and not to a pooler such as PgBouncer.

    A pooler may hand the connection to another client after each transaction; it tells its clients a process
    id of its own.
    """
    process_id = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
    return bool(process_id == connection.info.backend_pid)


def set_up_connection(connection: Connection, *, is_repeated: bool, idle_seconds: float | None) -> None:
    """Let a connection that is used again and again prepare its statements, and keep its settings, or not.

    To plan a statement takes the server as long as to run it, or longer. Not from the first transaction on,
    because to ask whether the connection is direct takes one itself.

    Args:
        connection: in no transaction yet.
        is_repeated: whether its transaction is repeated if the server refuses a prepared statement.
        idle_seconds: as for `set_up_transaction`, for all transactions of the connection.

    Raises:
        OperationalError: the server does not answer any more.
    """
    info: dict[Any, Any] = connection.info
    if not is_repeated and _USES not in info:
        return
    driver: Any = connection.connection.driver_connection
    if is_repeated:
        uses = info[_USES] = info.get(_USES, 0) + 1
        if uses == _USES_BEFORE_QUESTION:
            _set_up_session(driver, info, idle_seconds=idle_seconds)
    driver.prepare_threshold = _PREPARE_THRESHOLD if is_repeated and _IS_DIRECT in info else None


def _set_up_session(driver: Any, info: dict[Any, Any], *, idle_seconds: float | None) -> None:
    try:
        if is_direct(driver):
            info[_IS_DIRECT] = True
            if idle_seconds is not None:
                driver.execute(f"SET idle_in_transaction_session_timeout = {round(idle_seconds * 1000)}")
                info[_IDLE_SECONDS] = idle_seconds
        driver.commit()
    except psycopg.Error as error:
        raise OperationalError(None, None, error) from error


def is_read_only_error(error: BaseException) -> bool:
    """Whether a server refuses to write, as a former primary does after a failover."""
    cause = getattr(error, "orig", error)
    return isinstance(cause, psycopg.Error) and cause.sqlstate == READ_ONLY_SQLSTATE


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that is closed when a server does not answer within the time limit."""

    @classmethod
    @override
    def connect(cls, *arguments: Any, **options: Any) -> LimitedConnection:
        """Connect like `psycopg.connect`, within the time limit.

        Raises:
            psycopg.OperationalError: there is no connection in time.
        """
        seconds = remaining_seconds()
        if seconds is not None:
            if seconds <= 0:
                raise psycopg.OperationalError(_NO_ANSWER)
            options["connect_timeout"] = _SHORTEST_CONNECT_TIMEOUT_SECONDS
        try:
            return super().connect(*arguments, **options)
        except psycopg.errors.ConnectionTimeout as error:
            raise psycopg.OperationalError(_NO_ANSWER) from error

    @override
    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """Wait for the server like psycopg, within the time limit.

        Raises:
            psycopg.OperationalError: there is no answer in time; the connection is closed.
        """
        if has_time_limit():
            gen = self._limit(gen)
        return super().wait(gen, *arguments, **options)

    def _limit(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Yield from psycopg's steps of a communication until the time is up."""
        answer: Any = None
        while True:
            try:
                wanted = gen.send(answer)
            except StopIteration as end:
                return end.value
            answer = yield wanted
            # Several times a second psycopg reports that nothing has come.
            if not answer and (remaining_seconds() or 0) <= 0:
                self.pgconn.finish()
                raise psycopg.OperationalError(_NO_ANSWER)
