"""The one place that changes states: a conditional statement and its events, in one transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, insert, update
from sqlalchemy.dialects import postgresql, sqlite

from mailctl.log.rows import EMAIL_COLUMNS
from mailctl.log.tables import emails, events
from mailctl.message import State, states_before

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row, Table

#: The values that end a claim.
CLAIM_OVER: dict[str, Any] = {"claim": None, "lease_until": None}


def utc_now() -> datetime:
    """Return the time, aware."""
    return datetime.now(UTC)


def move(
    connection: Connection,
    where: ColumnElement[bool],
    target: State,
    *,
    text: str,
    values: dict[str, Any],
    now: datetime,
) -> Sequence[Row[Any]]:
    """Change the state of all emails that match and may change to it.

    Args:
        text: what the event says.
        values: other columns to set.

    Returns:
        The rows that changed, as they are now, with their content.
    """
    changed = (
        update(emails)
        .where(where, emails.c.state.in_(states_before(target)))
        .values(**values, state=target, updated_at=now)
        .returning(*EMAIL_COLUMNS, emails.c.content)
    )
    rows = connection.execute(changed).all()
    append_events(connection, [row._asdict() for row in rows], text=text, now=now)
    return rows


def append_events(
    connection: Connection, rows: Sequence[dict[str, Any]], *, text: str, now: datetime
) -> None:
    """Record that these rows of `mailctl_emails` are in their state since now."""
    if rows:
        connection.execute(insert(events), [event_values(row, text=text, now=now) for row in rows])


def insert_or_ignore(connection: Connection, table: Table, row: dict[str, Any]) -> bool:
    """Insert a row unless one with its key is there; return whether it is new."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).values(**row).on_conflict_do_nothing()
    # Not by `rowcount`: SQLAlchemy does not know it of an INSERT on PostgreSQL.
    return connection.execute(statement.returning(*table.primary_key)).first() is not None


def event_values(row: dict[str, Any], *, text: str, now: datetime) -> dict[str, Any]:
    """Return the event that a row of `mailctl_emails` is in its state since now."""
    is_new_attempt = row["state"] == State.SENDING
    return {
        "email_id": row["id"],
        "at": now,
        "state": row["state"],
        "attempt": row["attempts"],
        "worker": row.get("worker"),
        "code": None if is_new_attempt else row.get("smtp_code"),
        "text": text,
    }
