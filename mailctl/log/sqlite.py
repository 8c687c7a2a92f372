"""SQLite's manners: who waits for whom, and when what is on disk.

The log is in write-ahead mode: readers never wait, writers wait for each other.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import event

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL

#: Seconds that a writer waits for the lock.
BUSY_SECONDS = 10
#: Seconds that a reader of somebody else's database waits.
READER_SECONDS = 3
#: Execution options: the transaction only reads; it is on disk when it has ended.
READS = "mailctl_reads"
IS_LASTING = "mailctl_is_lasting"
#: Seconds between looks whether the lock is free. SQLite itself waits up to 0.1 s between two looks, and so
#: lets one busy writer keep all others out.
_LOOK_SECONDS = 0.0005
#: Bytes of the write-ahead log after which it is copied into the main file. It is long, and stays so, because
#: a writer waits for the disk when it begins it anew, or makes it longer while it is being flushed.
_LONGEST_LOG = 32 * 1024 * 1024
_CACHE_KIB = 16 * 1024


def open_writer(url: URL) -> Engine:
    """Return an engine; nothing is connected yet."""
    engine = sqlalchemy.create_engine(
        url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        # The driver must not open transactions by itself: "begin" below says which kind.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA foreign_keys=ON")
        # What is scrubbed is overwritten, not only forgotten.
        connection.execute("PRAGMA secure_delete=ON")
        # `tidy` copies, while nobody waits for it.
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute(f"PRAGMA journal_size_limit={_LONGEST_LOG}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that writes after it has read fails at once when another has written
        # meanwhile; an immediate one waits its turn.
        if connection.get_execution_options().get(READS, False):
            connection.exec_driver_sql("BEGIN")
        else:
            _begin_to_write(connection)

    return engine


def open_reader(url: URL) -> Engine:
    """Return an engine on somebody else's database, which never writes and makes no file."""
    path = sqlite_path(url)

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            f"{path.as_uri()}?mode=ro", uri=True, timeout=READER_SECONDS, check_same_thread=False
        )

    return sqlalchemy.create_engine(url, creator=connect, hide_parameters=True)


def sqlite_path(url: URL) -> Path:
    """Return the file of a SQLite database."""
    return Path((url.database or "").removeprefix("file:")).absolute()


def remember_pages(connection: Connection) -> None:
    """Let a connection keep more pages in memory from now on: what adds many rows comes by most of them."""
    connection.exec_driver_sql(f"PRAGMA cache_size={-_CACHE_KIB}")


def flush(engine: Engine) -> None:
    """Bring to disk what was committed without lasting, and make no writer wait for it."""
    with suppress(FileNotFoundError):  # it is in the main file, then, which SQLite has flushed
        descriptor = os.open(_write_ahead_log(engine), os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def tidy(engine: Engine) -> None:
    """Copy a write-ahead log that has grown long into the main file; no writer waits for it."""
    with suppress(FileNotFoundError):
        if _write_ahead_log(engine).stat().st_size > _LONGEST_LOG:
            with closing(engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")


def _write_ahead_log(engine: Engine) -> Path:
    return Path(f"{sqlite_path(engine.url)}-wal")


def _begin_to_write(connection: Connection) -> None:
    """Take the lock as soon as it is free."""
    is_lasting = connection.get_execution_options().get(IS_LASTING, True)
    driver: Any = connection.connection.driver_connection
    if connection.info.get(IS_LASTING) is not is_lasting:
        driver.execute(f"PRAGMA synchronous = {'FULL' if is_lasting else 'NORMAL'}")
        connection.info[IS_LASTING] = is_lasting
    driver.execute("PRAGMA busy_timeout = 0")
    deadline = time.monotonic() + BUSY_SECONDS
    try:
        while not _has_begun(driver):
            if time.monotonic() > deadline:
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # so that the error is SQLAlchemy's
                return
            time.sleep(_LOOK_SECONDS)
    finally:
        driver.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")


def _has_begun(driver: sqlite3.Connection) -> bool:
    try:
        driver.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True
