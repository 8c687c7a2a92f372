"""Unsubscribes: recipients who want no more emails of a kind."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mailctl.delivery_log.storage.utc_time import UtcDateTime

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "mailctl_unsubscribes",
        sa.Column("address", sa.String(254), primary_key=True),
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("email_id", sa.String(155), nullable=True),
    )
