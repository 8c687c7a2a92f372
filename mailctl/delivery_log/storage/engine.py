"""Database engines: drivers, transactions that read or write, and translation of errors."""

from __future__ import annotations

import shutil
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from mailctl.delivery_log.storage import sqlite
from mailctl.delivery_log.storage.driver_errors import fix_of
from mailctl.delivery_log.storage.late_creation import late_creation_of
from mailctl.delivery_log.storage.pools import ClosingPool
from mailctl.delivery_log.storage.prepared_statements import is_repeated
from mailctl.delivery_log.storage.time_limit import (
    CONNECT_TIMEOUT_SECONDS,
    time_limit,
)
from mailctl.delivery_log.storage.urls import mask_url
from mailctl.errors import ConfigurationError, ExtraMissing, LogUnavailable, ServiceUnavailable
from mailctl.settings.connection_urls.options import PREPARE_THRESHOLD
from mailctl.settings.credential_masking import mask_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL


#: The execution option with the seconds that a transaction on a server may take.
_TRANSACTION_SECONDS = "mailctl_transaction_seconds"
#: The execution option that says whether mailctl decides which transactions prepare statements.
_MAY_PREPARE = "mailctl_may_prepare"
#: Seconds for a free connection of the pool, and for a proof that its server answers.
_CHECKOUT_SECONDS = 2 * CONNECT_TIMEOUT_SECONDS
_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
#: The codes of PostgreSQL for a lock that was not available in time, and for a deadlock.
_LOCK_STATES = frozenset({"55P03", "40P01"})
#: With less free space than this, SQLite cannot extend its files.
_MIN_FREE_BYTES = 64 * 1024


def open_engine(url: URL, *, setting: str, read_only: bool = False) -> Engine:
    """Return an engine, which does not connect yet.

    Args:
        url: from `parse_url`.
        setting: the setting that has the URL, for error messages.
        read_only: whether the database is another program's, which must never be created, changed or blocked.

    Raises:
        ConfigurationError: the driver is not installed.
    """
    if url.get_backend_name() == "sqlite":
        return sqlite.open_external_reader(url) if read_only else sqlite.open_writer(url)
    if not read_only:
        return _open_server(url, setting=setting, options=_log_engine_options(url), is_writer=True)
    engine = _open_server(url, setting=setting)
    if url.get_backend_name() == "postgresql":
        event.listen(engine, "begin", _set_transaction_read_only)
        event.listen(engine, "begin", _set_statement_timeout)
    return engine


def open_log_reader(url: URL, *, setting: str) -> Engine:
    """Return an engine that only reads a delivery log, and creates nothing; see `open_engine`."""
    if url.get_backend_name() == "sqlite":
        return sqlite.open_log_reader(url)
    # What a standby tells may be old.
    engine = _open_server(url, setting=setting, options=_log_engine_options(url), is_writer=True)
    if url.get_backend_name() == "postgresql":
        event.listen(engine, "begin", _set_transaction_read_only)
    return engine


def _log_engine_options(url: URL) -> dict[str, Any]:
    """Return the options of an engine on a delivery log."""
    # A statement that has waited for a lock must see what was committed meanwhile, whatever the default is.
    return {"isolation_level": "READ COMMITTED"} if url.get_backend_name() == "postgresql" else {}


def _open_server(
    url: URL, *, setting: str, options: Mapping[str, Any] = _NO_OPTIONS, is_writer: bool = False
) -> Engine:
    arguments: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_SECONDS}
    connection_class: Any = None
    with _require_driver(url, setting=setting):
        if url.get_backend_name() == "postgresql":
            # Imported here, because the driver takes long to import.
            from mailctl.delivery_log.storage import postgresql

            arguments = postgresql.connect_arguments(url, is_writer=is_writer)
            connection_class = postgresql.LimitedConnection
        engine = sqlalchemy.create_engine(
            url.difference_update_query([PREPARE_THRESHOLD]),
            poolclass=ClosingPool,
            pool_pre_ping=True,
            pool_timeout=CONNECT_TIMEOUT_SECONDS,
            connect_args=arguments,
            hide_parameters=True,
            **options,
        )
        may_prepare = connection_class is not None and PREPARE_THRESHOLD not in url.query
        engine.update_execution_options(**{_MAY_PREPARE: may_prepare})

    @event.listens_for(engine, "do_connect")
    def _connect(dialect: Any, _record: Any, positional: Any, named: Any) -> Any:
        try:
            return (connection_class or dialect).connect(*positional, **named)
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"{setting} has an option that its driver does not accept.",
                fix="Correct the options after the `?`.",
            ) from None

    return engine


@contextmanager
def _require_driver(url: URL, *, setting: str) -> Iterator[None]:
    try:
        yield
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        problem = f"{setting}: the driver {url.drivername} is not installed."
        if url.get_backend_name() == "postgresql":
            raise ExtraMissing(problem, extra="postgres") from error
        # Only the database of the service's users may have another scheme: the log refuses it earlier.
        how = f"pip install {error.name}" if isinstance(error, ModuleNotFoundError) else "Install its dialect"
        raise ConfigurationError(
            problem, fix=f"Use PostgreSQL or SQLite, which mailctl supports, or: {how}"
        ) from error


def _set_transaction_read_only(connection: Connection) -> None:
    # Set in each transaction, not when connecting: PgBouncer refuses start-up options.
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")


def _set_statement_timeout(connection: Connection) -> None:
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{CONNECT_TIMEOUT_SECONDS}s'")


def create_log(engine: Engine) -> None:
    """Create the delivery log of an engine now, if its creation was left to the first write.

    Raises:
        LogUnavailable: the delivery log cannot be created.
    """
    if (late := late_creation_of(engine)) is not None:
        late.finish()


@contextmanager
def reading(engine: Engine, *, is_snapshot: bool = False) -> Iterator[Connection]:
    """Yield a connection that only reads, and so never waits for a writer.

    Args:
        engine: of the delivery log.
        is_snapshot: whether all statements see the log as it was at the first of them, as they always do on
            SQLite.

    Raises:
        LogUnavailable: the delivery log cannot be reached or read.
    """
    late = late_creation_of(engine)
    source = engine if late is None else late.readable(engine)
    with translate_database_errors(engine.url), connected(source) as connection:
        if connection.dialect.name != "postgresql":
            connection.execution_options(**{sqlite.READ_ONLY: True})
            yield connection
            return
        if is_snapshot:
            connection.execution_options(isolation_level="REPEATABLE READ")
        _set_up_transaction(connection)
        yield connection
        # A rollback would discard the statements that the connection has prepared.
        connection.commit()


@contextmanager
def writing(engine: Engine, *, durable: bool = True) -> Iterator[Connection]:
    """Yield a connection in a transaction that writes, committed at the end and rolled back by an error.

    Args:
        durable: whether the transaction is on disk when this returns. Otherwise it is on disk with the next
            durable one: a power failure may undo it, and on PostgreSQL also a crash of the server, which the
            end of any of its processes brings about. The end of this process cannot.

    Raises:
        LogUnavailable: the delivery log cannot be reached or written.
    """
    create_log(engine)
    with translate_database_errors(engine.url), connected(engine) as connection:
        if engine.dialect.name == "sqlite":
            connection.execution_options(**{sqlite.DURABLE: durable})
            with sqlite.taking_turns(engine), connection.begin():
                yield connection
        else:
            try:
                with connection.begin():
                    seconds = engine.get_execution_options().get(_TRANSACTION_SECONDS)
                    _set_up_transaction(connection, durable=durable, idle_seconds=seconds)
                    yield connection
            except DBAPIError as error:
                _discard_if_read_only(engine, error)
                raise
    if durable:
        checkpoint(engine)


def limit_transactions(engine: Engine, *, seconds: float) -> None:
    """Give up each later transaction in which one side falls silent, and close its connection.

    For a worker: it continues, or ends, while a server on PostgreSQL is silent, and the server frees the rows
    that it has locked while it is suspended. Its connections prepare statements, because it repeats a
    transaction that fails: the server refuses a prepared statement once after `mailctl db partition`.

    Args:
        engine: of the delivery log.
        seconds: for each transaction.
    """
    engine.update_execution_options(**{_TRANSACTION_SECONDS: seconds})


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """Yield a connection whose server has just answered, within the time limit for transactions.

    Its transactions are the caller's to set up and to end; see `reading` and `writing`.
    """
    if engine.dialect.name != "postgresql":
        with engine.connect() as connection:
            yield connection
        return
    with time_limit(_CHECKOUT_SECONDS, is_for_server=False):
        checked_out = engine.connect()
    options = engine.get_execution_options()
    seconds = options.get(_TRANSACTION_SECONDS)
    limited = nullcontext() if seconds is None else time_limit(seconds, is_for_server=False)
    with limited, checked_out as connection:
        if options.get(_MAY_PREPARE, False):
            _set_up_connection(connection, idle_seconds=seconds)
        yield connection


def _set_up_connection(connection: Connection, *, idle_seconds: float | None) -> None:
    """Let transactions prepare their statements that are repeated: all of a worker, some of a service."""
    from mailctl.delivery_log.storage.postgresql import set_up_connection

    is_worker = idle_seconds is not None
    set_up_connection(connection, is_repeated=is_worker or is_repeated(), idle_seconds=idle_seconds)


def _set_up_transaction(
    connection: Connection, *, durable: bool = True, idle_seconds: float | None = None
) -> None:
    if connection.dialect.name == "postgresql":
        from mailctl.delivery_log.storage.postgresql import set_up_transaction

        set_up_transaction(connection, durable=durable, idle_seconds=idle_seconds)


def _discard_if_read_only(engine: Engine, error: DBAPIError) -> None:
    """Discard the connections of an engine if the server has become read-only: another is the primary now."""
    from mailctl.delivery_log.storage.postgresql import is_read_only_error

    if is_read_only_error(error):
        engine.dispose()


def can_flush(engine: Engine) -> bool:
    """Whether `flush` does anything: a database server writes to disk by itself within a second."""
    return engine.dialect.name == "sqlite"


def flush(engine: Engine) -> None:
    """Write to disk what was committed with `durable=False`, without blocking writers.

    Raises:
        LogUnavailable: the delivery log cannot be written.
    """
    _maintain(engine, sqlite.flush, sqlite.checkpoint)


def checkpoint(engine: Engine) -> None:
    """Keep SQLite's write-ahead log short; callers that write without pause do so between transactions.

    Raises:
        LogUnavailable: the delivery log cannot be written.
    """
    _maintain(engine, sqlite.checkpoint)


def _maintain(engine: Engine, *steps: Callable[[Engine], None]) -> None:
    if can_flush(engine):
        with translate_database_errors(engine.url):
            for step in steps:
                step(engine)


@contextmanager
def translate_database_errors(
    url: URL, *, what: str = "the delivery log", error_class: type[ServiceUnavailable] = LogUnavailable
) -> Iterator[None]:
    """Translate errors of the database driver to one sentence that names the database, without its password.

    Args:
        url: of the database.
        what: how the sentence names the database.
        error_class: the class of the error that is raised.
    """
    try:
        yield
    except (DBAPIError, PoolTimeoutError) as error:
        if is_disk_full(url):
            raise error_class(
                f"{what} at {mask_url(url)} cannot be used: its disk is full.", fix="Free space on that disk."
            ) from error
        reason = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
        raise error_class(
            f"{what} at {mask_url(url)} cannot be used: {mask_credentials(reason[0])}.",
            fix=fix_of(error),
        ) from error
    except SQLAlchemyError as error:
        raise error_class(
            f"{what} at {mask_url(url)} cannot be used: {type(error).__name__}.",
            fix="Run `mailctl check-config`.",
        ) from error


def is_about_a_row(error: ServiceUnavailable) -> bool:
    """Whether the database has refused what was to be written, and would take something else."""
    cause = error.__cause__
    if isinstance(cause, DBAPIError):
        return isinstance(cause, DataError | IntegrityError)
    return isinstance(cause, StatementError)


def is_lock_conflict(error: BaseException) -> bool:
    """Whether PostgreSQL gave up waiting for a lock of another transaction, or ended a deadlock."""
    sqlstate = getattr(getattr(error.__cause__, "orig", None), "sqlstate", None)
    return sqlstate in _LOCK_STATES


def is_disk_full(url: URL) -> bool:
    """Whether the disk of a SQLite database is full, for which SQLite often reports "disk I/O error"."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return False
    try:
        return shutil.disk_usage(Path(url.database).parent).free < _MIN_FREE_BYTES
    except OSError:
        return False
