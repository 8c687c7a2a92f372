"""What is said to do about errors of drivers, by their codes and not by their words."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from mailctl.delivery_log.storage.driver_errors import fix_of


def sqlite_error(code: int) -> sqlite3.OperationalError:
    """Return an error as the driver raises it."""
    error = sqlite3.OperationalError("said so")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("driver_error", "fix"),
    [
        (sqlite_error(sqlite3.SQLITE_FULL), "Free space on that disk."),
        (sqlite_error(sqlite3.SQLITE_READONLY_DBMOVED), "write access to the file"),
        (sqlite_error(sqlite3.SQLITE_BUSY_RECOVERY), "holds a lock"),
        (sqlite_error(sqlite3.SQLITE_CORRUPT), "Stop the workers and the services"),
        (sqlite_error(sqlite3.SQLITE_NOTADB), "restore the file from a backup"),
        (sqlite_error(sqlite3.SQLITE_IOERR), "exists and runs"),
        (psycopg.errors.ReadOnlySqlTransaction("said so"), "this one is a standby"),
        (psycopg.errors.InsufficientPrivilege("said so"), "Grant this user"),
        (psycopg.errors.DiskFull("said so"), "Free space on the disk of the database server."),
        (psycopg.OperationalError("said so"), "exists and runs"),
    ],
)
def test_the_code_decides(driver_error: Exception, fix: str) -> None:
    """An extended code of SQLite counts as its primary one."""
    assert fix in fix_of(DBAPIError("INSERT", None, driver_error))
