"""The mailboxes by which limits count: one spelling for all addresses of a mailbox."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

from mailctl.delivery_log.storage.utc_time import UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

#: The longest window of a limit.
_WINDOW = timedelta(days=1)


def upgrade() -> None:
    """Add the column and its index; what limits still count has its address as mailbox."""
    op.add_column("mailctl_emails", sa.Column("mailbox", sa.String(254), nullable=True))
    emails = sa.table(
        "mailctl_emails",
        sa.column("mailbox", sa.String),
        sa.column("to_address", sa.String),
        sa.column("created_at", UtcDateTime()),
    )
    is_counted = emails.c.created_at > datetime.now(UTC) - _WINDOW
    op.execute(sa.update(emails).where(is_counted).values(mailbox=emails.c.to_address))
    op.drop_index("mailctl_emails_recipient", table_name="mailctl_emails")
    op.create_index("mailctl_emails_mailbox", "mailctl_emails", ["mailbox", "created_at"])
