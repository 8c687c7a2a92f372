"""The bulk action that stopped an email, in a column of its own: before, only the error text told it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op

if TYPE_CHECKING:
    from collections.abc import Iterator

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

#: "held by ada@desk (hold-1f2e3d): the operator's reason"; an actor is not followed by a colon here.
_STOPPED = re.compile(r"\w+ by (?:(?!: ).)+? \(((?:hold|cancel|purge)-[0-9a-f]{6})\)(?:: |\Z)")
#: Emails that are read and changed together.
_BATCH_SIZE = 1000

_emails: Any = sa.table(
    "mailctl_emails", *(sa.column(name) for name in ("seq", "error", "reason_code", "stopped_by"))
)


def upgrade() -> None:
    """Add the column, and fill it from the wording."""
    op.add_column("mailctl_emails", sa.Column("stopped_by", sa.String(length=32), nullable=True))
    connection = op.get_bind()
    change = (
        _emails.update()
        .where(_emails.c.seq == sa.bindparam("stopped_seq"))
        .values(stopped_by=sa.bindparam("action"))
    )
    for rows in _batches(connection):
        found = [
            {"stopped_seq": row.seq, "action": match[1]}
            for row in rows
            if (match := _STOPPED.match(row.error))
        ]
        if found:
            connection.execute(change, found)


def _batches(connection: sa.Connection) -> Iterator[list[Any]]:
    query = (
        sa.select(_emails.c.seq, _emails.c.error)
        .where(_emails.c.reason_code == "stopped", _emails.c.error.is_not(None))
        .order_by(_emails.c.seq)
        .limit(_BATCH_SIZE)
    )
    last = 0
    while rows := list(connection.execute(query.where(_emails.c.seq > last))):
        yield rows
        last = rows[-1].seq
