"""The fix for an error of a database driver, by the code of the error."""

from __future__ import annotations

import sqlite3

_DEFAULT_FIX = "Check that it exists and runs, and that this user may use it."
_READ_ONLY_FIX = (
    "Use a server that accepts writes: this one is a standby, or default_transaction_read_only is set."
)
_DAMAGED_FIX = (
    "Stop the workers and the services, which have it open as well. Then restore the file from a backup,"
    " or move it away: a new, empty log will be created."
)
_PRIVILEGE_FIX = (
    "Grant this user SELECT, INSERT, UPDATE and DELETE on the tables of mailctl, and CREATE on the schema"
    " where they are missing."
)
#: The SQLSTATE of a transaction that may not write.
READ_ONLY_SQLSTATE = "25006"
#: The SQLSTATE of a prepared statement whose result has other types now.
REFUSED_STATEMENT_SQLSTATE = "0A000"
#: By the SQLSTATE of PostgreSQL.
_FIX_BY_SQLSTATE = {
    READ_ONLY_SQLSTATE: _READ_ONLY_FIX,
    "42501": _PRIVILEGE_FIX,
    REFUSED_STATEMENT_SQLSTATE: "Try again: its tables have just been changed.",
    "53100": "Free space on the disk of the database server.",
}
#: By the primary result code of SQLite.
_FIX_BY_SQLITE_CODE = {
    sqlite3.SQLITE_READONLY: "Give this user write access to the file and its folder, and mount it writable.",
    sqlite3.SQLITE_FULL: "Free space on that disk.",
    sqlite3.SQLITE_BUSY: "Find the program that holds a lock on the file, and stop it.",
    sqlite3.SQLITE_NOTADB: _DAMAGED_FIX,
    sqlite3.SQLITE_CORRUPT: _DAMAGED_FIX,
}


def fix_of(error: BaseException) -> str:
    """Return what to do about an error of SQLAlchemy that a driver caused."""
    driver_error = getattr(error, "orig", None)
    by_code = _FIX_BY_SQLITE_CODE.get(getattr(driver_error, "sqlite_errorcode", 0) & 0xFF)
    return by_code or _FIX_BY_SQLSTATE.get(str(getattr(driver_error, "sqlstate", ""))) or _DEFAULT_FIX
