"""Emails of many days, and what a log with partitions contains."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, select

from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.partial_indices import add_partial_indices
from mailctl.delivery_log.storage.partitions.layout import PartitionLayout, read_layout
from mailctl.delivery_log.storage.schema_version import VERSION_TABLE
from mailctl.delivery_log.storage.tables import emails, events, feedback, metadata
from mailctl.domain.email_ids import new_email_id
from mailctl.domain.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from mailctl.delivery_log.rollup import Rollup


DAY = timedelta(days=1)
NOW = datetime.now(UTC)
#: Of the emails of a month, those whose partition has days of which something is kept for ten days: the days
#: from 12 to 9 days ago are one.
KEPT = (0, 3, 6, 9, 12)


def fill(engine: Engine, *, days: Sequence[int], number: int = 40, state: State = State.SENT) -> list[str]:
    """Record emails that ended some days ago, each with an event and with feedback; return their ids."""
    rows = [row(NOW - day * DAY, state=state) for day in days for _ in range(number)]
    ids = [each["id"] for each in rows]
    with writing(engine) as connection:
        connection.execute(insert(emails), rows)
        connection.execute(
            insert(events),
            [
                {"email_id": each["id"], "at": each["created_at"], "state": state, "attempt": 1}
                for each in rows
            ],
        )
        connection.execute(insert(feedback), [feedback_row(each["id"]) for each in rows])
    return ids


def row(at: datetime, *, state: State = State.SENT, **more: Any) -> dict[str, Any]:
    """Return an email that was recorded, and ended, at a time."""
    email = {"id": new_email_id(at), "kind": "welcome", "state": state, "queue": "celery"}
    times = dict.fromkeys(("created_at", "updated_at", "due_at"), at)
    return {**email, "to_address": "zoe@example.com", "attempts": 1, **times, **more}


def feedback_row(email_id: str) -> dict[str, Any]:
    texts = dict.fromkeys(("text", "summary"), "")
    flags = dict.fromkeys(("is_hard", "waits", "is_about_other"), False)
    kind = {"source": "test", "kind": "delivered", "proof": "none"}
    return {"digest": email_id, "email_id": email_id, "received_at": NOW, **kind, **texts, **flags}


def layout_of(engine: Engine) -> PartitionLayout | None:
    with reading(engine) as connection:
        return read_layout(connection)


def places(engine: Engine, table: str = "mailctl_emails") -> dict[str, int]:
    """Return how many rows each partition has."""
    query = f"SELECT CAST(tableoid AS regclass)::text AS name, count(*) FROM {table} GROUP BY 1"
    with reading(engine) as connection:
        return {row.name: row.count for row in connection.exec_driver_sql(query)}


def contents(engine: Engine) -> tuple[list[Any], list[Any]]:
    """Return all rows of both tables."""
    with reading(engine) as connection:
        return tuple(  # type: ignore[return-value]
            connection.execute(select(table).order_by(table.c.seq)).all() for table in (emails, events)
        )


def difference(engine: Engine) -> list[Any]:
    """Return what a migration would change to give the log the schema of the code."""
    add_partial_indices()
    options = {"compare_type": True, "compare_server_default": True, "version_table": VERSION_TABLE}
    options["include_name"] = lambda name, kind, _: kind != "table" or name in metadata.tables
    with engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def roll_up(rollup: Rollup) -> None:
    """Do what relays do over a while; transactions of other tests may be in the way."""
    idle = 0
    while idle < 3:
        idle = 0 if rollup.advance() else idle + 1
