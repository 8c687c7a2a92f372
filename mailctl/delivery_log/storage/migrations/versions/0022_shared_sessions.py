"""How many sessions each mail server allows all workers together, and how they share them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mailctl.delivery_log.storage.utc_time import UtcDateTime

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("mailctl_send_limits", sa.Column("sessions", sa.Integer(), nullable=True))
    op.add_column("mailctl_send_limits", sa.Column("sessions_at", UtcDateTime(), nullable=True))
    op.add_column("mailctl_send_limits", sa.Column("sessions_reason", sa.Text(), nullable=True))
    op.add_column("mailctl_send_limits", sa.Column("trial_at", UtcDateTime(), nullable=True))
    op.add_column("mailctl_send_limits", sa.Column("trial_seconds", sa.Float(), nullable=True))
    op.create_table(
        "mailctl_session_holders",
        sa.Column("scope", sa.String(300), primary_key=True),
        sa.Column("holder", sa.String(32), primary_key=True),
        sa.Column("opened", sa.Integer(), nullable=False),
        sa.Column("granted", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
    )
