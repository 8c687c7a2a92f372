"""A probe of the delivery log: whether an email can be recorded, and whether those that wait can be read."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from mailctl.delivery_log.opening import DATABASE_URL_SETTING
from mailctl.delivery_log.rows import IDENTITY_COLUMNS, identity_from_row
from mailctl.delivery_log.storage.encryption import open_sealed
from mailctl.delivery_log.storage.engine import (
    is_disk_full,
    open_engine,
    reading,
    translate_database_errors,
)
from mailctl.delivery_log.storage.engine_clock import clock_of
from mailctl.delivery_log.storage.tables import emails, events
from mailctl.delivery_log.storage.urls import mask_url
from mailctl.domain.catalog import CANARY
from mailctl.domain.states import UNFINISHED_STATES, State
from mailctl.errors import ConfigurationError, LogUnavailable
from mailctl.security.keyring import is_unbound

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, Row

    from mailctl.security.keyring import Keyring

#: Bytes of the content of the probe, so that the database has to find room for it.
_CONTENT_BYTES = 128 * 1024
#: Pages of SQLite's cache, fewer than the content needs.
_CACHE_PAGES = 4
#: How many of the emails that wait are decrypted.
_MAX_READ = 100


@dataclass(frozen=True, kw_only=True)
class Readability:
    """How many of the emails that wait a process can decrypt."""

    checked: int
    #: Those of another key, or whose row another program has changed.
    unreadable: int
    #: Those that an earlier version of mailctl has sealed, and that have to be resealed.
    unbound: int


def check_writable(url: URL) -> None:
    """Record an email in a transaction that leaves nothing, so that no other process ever sees it.

    Args:
        url: of a delivery log with the current schema.

    Raises:
        LogUnavailable: nothing can be recorded; the error says why.
    """
    engine = open_engine(url, setting=DATABASE_URL_SETTING)
    try:
        with translate_database_errors(url), engine.connect() as connection:
            _record_and_undo(connection)
    except LogUnavailable as error:
        raise LogUnavailable(f"Nothing can be recorded: {error.message}", fix=error.fix) from error
    finally:
        engine.dispose()
    _check_free_space(url)


def sample_readability(engine: Engine, keyring: Keyring) -> Readability:
    """Decrypt some of the emails that wait, and return how many of them could not be decrypted.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    waits = emails.c.state.in_(UNFINISHED_STATES)
    query = select(*IDENTITY_COLUMNS, emails.c.content).where(waits, emails.c.content.is_not(None))
    with reading(engine) as connection:
        rows: list[Any] = list(connection.execute(query.limit(_MAX_READ)))
    closed = [row for row in rows if not _is_readable(row, keyring)]
    unbound = sum(is_unbound(row.content) for row in closed)
    return Readability(checked=len(rows), unreadable=len(closed) - unbound, unbound=unbound)


def _is_readable(row: Row[Any], keyring: Keyring) -> bool:
    try:
        open_sealed(row.content, keyring, identity_from_row(row))
    except ConfigurationError:
        return False
    return True


def _record_and_undo(connection: Connection) -> None:
    """Record an email, and undo that in such a way that the database has to write to its disk before."""
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        # SQLite writes what does not fit into its cache at once, into its write-ahead log.
        connection.exec_driver_sql(f"PRAGMA cache_size={_CACHE_PAGES}")
    probe_id = _record(connection)
    if is_sqlite:
        connection.rollback()
        return
    connection.execute(delete(events).where(events.c.email_id == probe_id))
    connection.execute(delete(emails).where(emails.c.id == probe_id))
    # Only a commit waits for the disk, and for a standby if the server has to.
    connection.commit()


def _record(connection: Connection) -> str:
    now, probe_id = clock_of(connection.engine)(), f"mailctl-probe-{uuid.uuid4().hex}"
    row: dict[str, Any] = {"id": probe_id, "kind": CANARY.name, "state": State.CANCELLED, "queue": ""}
    row |= {"to_address": "", "content": bytes(_CONTENT_BYTES)}
    row |= {"created_at": now, "updated_at": now, "due_at": now}
    event = {"email_id": probe_id, "at": now, "state": State.CANCELLED, "attempt": 0, "text": "a probe"}
    connection.execute(insert(emails).values(**row))
    connection.execute(insert(events).values(**event))
    return probe_id


def _check_free_space(url: URL) -> None:
    """Refuse a disk on which SQLite will fail soon: for a while it still has room in its own files."""
    if is_disk_full(url):
        raise LogUnavailable(
            f"The disk of the delivery log at {mask_url(url)} is full.", fix="Free space on that disk."
        )
