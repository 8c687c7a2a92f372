"""The mail server of each email, the servers that may send it, its tenant; rates that workers share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mailctl.delivery_log.storage.utc_time import UtcDateTime

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("mailctl_emails", sa.Column("server", sa.String(32), nullable=True))
    op.add_column("mailctl_emails", sa.Column("route", sa.String(300), nullable=True))
    op.add_column("mailctl_emails", sa.Column("tenant", sa.String(64), nullable=True))
    op.create_table(
        "mailctl_send_limits",
        sa.Column("scope", sa.String(300), primary_key=True),
        sa.Column("reserved_until", UtcDateTime(), nullable=False),
        sa.Column("learned", sa.Float(), nullable=True),
        sa.Column("learned_at", UtcDateTime(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
    )
