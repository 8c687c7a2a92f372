"""SQLite engines: locking and durability.

The log is in write-ahead mode: readers never wait, writers wait for each other. A process has no connection
open when it forks: SQLite in the child would take the locks of its parent for its own, and when the parent
closes its connections, what the child commits would be lost with the deleted write-ahead log.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import QueuePool

from mailctl.delivery_log.storage.pools import ForkSafePool
from mailctl.settings.file_owners import is_link_of_stranger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL

_log = logging.getLogger("mailctl.delivery_log")

#: The key of a connection's `info` with the identity of the file that it has open.
_FILE = "mailctl_file"
#: Seconds that a writer waits for the lock.
BUSY_TIMEOUT_SECONDS = 10
#: Seconds that a reader of another program's database waits for a lock.
READER_TIMEOUT_SECONDS = 3
#: Execution options: the transaction only reads; the transaction is on disk when it has ended.
READ_ONLY = "mailctl_read_only"
DURABLE = "mailctl_durable"
#: Execution option: the lock of the threads of this process that write.
_TURN = "mailctl_turn"
#: Seconds between attempts to take the lock. SQLite itself waits up to 0.1 s between two attempts, so that
#: one busy writer can keep all others out.
_BUSY_POLL_SECONDS = 0.0005
#: Bytes of the write-ahead log after which it is copied into the main file. It is large and keeps its size,
#: because a writer waits for the disk when the write-ahead log restarts, or grows while it is being flushed.
_MAX_WAL_BYTES = 32 * 1024 * 1024
#: Bytes from which writers wait until it is empty. Under load it may never be copied to its end otherwise,
#: because writers append to it meanwhile, and then it grows until the disk is full.
_TRUNCATED_WAL_BYTES = 4 * _MAX_WAL_BYTES
#: Error codes of SQLite where it cannot create the files that it keeps beside a database in use.
_CANNOT_CREATE_WAL_CODES = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_CACHE_KIB = 16 * 1024
#: Why a file is not used: emails would go into a file that another user has chosen.
LINK_OF_STRANGER = "it is a symbolic link that belongs to another user"


def open_writer(url: URL) -> Engine:
    """Return an engine that reads and writes, and does not connect yet."""
    engine = sqlalchemy.create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        poolclass=ForkSafePool,
        # The connection that was used last has the most pages in memory.
        pool_use_lifo=True,
        execution_options={_TURN: threading.RLock()},
        hide_parameters=True,
    )

    _follow_replaced_file(engine)

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        # The driver must not begin transactions by itself: "begin" below chooses the kind.
        connection.isolation_level = None
        # While another process switches a new file to this mode, SQLite fails at once, without its timeout.
        _retry_while_busy(lambda: connection.execute("PRAGMA journal_mode=WAL"))
        connection.execute("PRAGMA foreign_keys=ON")
        # Deleted content is overwritten.
        connection.execute("PRAGMA secure_delete=ON")
        # `checkpoint` copies the log, while no writer waits for it.
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute(f"PRAGMA journal_size_limit={_MAX_WAL_BYTES}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that writes after it has read fails at once if another has written meanwhile;
        # an immediate one waits for the lock.
        if connection.get_execution_options().get(READ_ONLY, False):
            connection.exec_driver_sql("BEGIN")
        else:
            _begin_immediate(connection)

    return engine


def open_external_reader(url: URL) -> Engine:
    """Return an engine on another program's database, which never writes and creates no file."""
    path = sqlite_path(url)

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            f"{path.as_uri()}?mode=ro", uri=True, timeout=READER_TIMEOUT_SECONDS, check_same_thread=False
        )

    return sqlalchemy.create_engine(url, creator=connect, poolclass=ForkSafePool, hide_parameters=True)


def open_log_reader(url: URL) -> Engine:
    """Return an engine that only reads a delivery log, and leaves no file behind."""
    path = sqlite_path(url)

    def connect() -> sqlite3.Connection:
        try:
            return _connect_query_only(
                path, "mode=rw"
            )  # never creates it; a read-only one would leave a -wal file
        except sqlite3.OperationalError as error:
            if _primary_code(error) not in _CANNOT_CREATE_WAL_CODES or not _has_no_wal_file(path):
                raise
        # This user may not create files beside a log that nobody has open.
        return _connect_query_only(path, "mode=ro&immutable=1")

    engine = sqlalchemy.create_engine(url, creator=connect, poolclass=ForkSafePool, hide_parameters=True)
    _follow_replaced_file(engine)
    event.listen(engine, "begin", _begin_deferred)
    return engine


def open_empty(statements: Sequence[str]) -> Engine:
    """Return an engine each of whose connections reads an empty database of its own in memory.

    Args:
        statements: the SQL statements that create the tables.
    """

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        for statement in statements:
            connection.execute(statement)
        connection.execute("PRAGMA query_only=ON")
        return connection

    engine = sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=QueuePool, hide_parameters=True)
    event.listen(engine, "begin", _begin_deferred)
    return engine


def _follow_replaced_file(engine: Engine) -> None:
    """Make an engine notice that its file was replaced or deleted, which SQLite does not.

    A process that has the old file open would continue to write to it, apart from all others. A replaced file
    is opened instead; a deleted one is never created again by an engine that had it open.
    """
    path = sqlite_path(engine.url)
    seen: set[tuple[int, int]] = set()

    @event.listens_for(engine, "do_connect")
    def _refuse_deleted(*_: Any) -> None:
        if is_link_of_stranger(path):
            raise sqlite3.OperationalError(LINK_OF_STRANGER)
        if seen and _identity(path) is None:
            raise sqlite3.OperationalError("its file was deleted while it was in use")

    @event.listens_for(engine, "connect")
    def _remember(_connection: Any, record: Any) -> None:
        record.info[_FILE] = identity = _identity(path)
        if identity is not None:
            if seen and identity not in seen:
                _log.error(
                    "the delivery log %s was replaced by another file, which is used from now on", path
                )
            seen.add(identity)

    @event.listens_for(engine, "checkout")
    def _refuse_replaced(_connection: Any, record: Any, _proxy: Any) -> None:
        if is_replaced(record.info, path):
            raise InvalidatePoolError


def is_replaced(info: Mapping[Any, Any], path: Path) -> bool:
    """Whether a connection has another file open than the one that has the path now.

    Args:
        info: the `info` of the connection.
        path: the path of the database.
    """
    return info.get(_FILE) != _identity(path)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from any other that gets its name; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def _has_no_wal_file(path: Path) -> bool:
    """Whether a database consists of one file, as SQLite leaves it when nobody has it open."""
    return path.is_file() and not path.with_name(f"{path.name}-wal").exists()


def _connect_query_only(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?{options}",
        uri=True,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA query_only=ON")
        # SQLite opens the files with the first query.
        _retry_while_busy(lambda: connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall())
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _begin_deferred(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def sqlite_path(url: URL) -> Path:
    """Return the file of a SQLite database."""
    return Path((url.database or "").removeprefix("file:")).absolute()


def is_absent(url: URL) -> bool:
    """Whether a URL is that of a SQLite file that does not exist."""
    return url.get_backend_name() == "sqlite" and not sqlite_path(url).exists()


def enlarge_page_cache(connection: Connection) -> None:
    """Enlarge the page cache of a connection: a transaction that writes many rows changes most pages.

    A database server has a cache of its own.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA cache_size={-_CACHE_KIB}")


def flush(engine: Engine) -> None:
    """Write to disk what was committed without durability, without blocking writers."""
    with suppress(FileNotFoundError):  # then it is in the main file, which SQLite has flushed
        descriptor = os.open(_wal_path(engine), os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def checkpoint(engine: Engine) -> None:
    """Copy a write-ahead log that has grown large into the main file.

    Writers are blocked only if it has grown much larger, and only for the rest that they appended meanwhile.
    """
    with suppress(FileNotFoundError):
        size = _wal_path(engine).stat().st_size
        if size <= _MAX_WAL_BYTES:
            return
        with closing(engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
            if size > _TRUNCATED_WAL_BYTES:
                # It does not wait for another writer or for a reader; the next transaction tries again.
                cursor.execute("PRAGMA busy_timeout = 0")
                try:
                    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                finally:
                    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")


def _wal_path(engine: Engine) -> Path:
    return Path(f"{sqlite_path(engine.url)}-wal")


@contextmanager
def taking_turns(engine: Engine) -> Iterator[None]:
    """Let the threads of this process write one after the other.

    Otherwise each would try for the lock of the database again and again, and wake the others each time.
    After a long wait it tries nevertheless, so that the error is that of the database.
    """
    turn = engine.get_execution_options().get(_TURN)
    if turn is None:  # another database, or an engine that only reads
        yield
        return
    is_taken = turn.acquire(timeout=BUSY_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        if is_taken:
            turn.release()


def _begin_immediate(connection: Connection) -> None:
    """Begin a transaction that writes, as soon as the lock is free."""
    durable = connection.get_execution_options().get(DURABLE, True)
    driver: Any = connection.connection.driver_connection
    if connection.info.get(DURABLE) is not durable:
        driver.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.info[DURABLE] = durable
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        _retry_while_busy(lambda: driver.execute("BEGIN IMMEDIATE"))
    except sqlite3.OperationalError:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # so that the error is SQLAlchemy's
    finally:
        driver.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")


def _retry_while_busy(attempt: Callable[[], object]) -> None:
    """Call a function again and again while another connection has the lock.

    Raises:
        sqlite3.OperationalError: it fails for another reason, or still after BUSY_TIMEOUT_SECONDS.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            attempt()
            return
        except sqlite3.OperationalError as error:
            if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_BUSY_POLL_SECONDS)


def _primary_code(error: sqlite3.Error) -> int:
    """Return the primary result code of an error, such as BUSY for BUSY_RECOVERY."""
    return error.sqlite_errorcode & 0xFF
