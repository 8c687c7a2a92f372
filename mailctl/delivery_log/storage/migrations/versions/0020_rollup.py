"""Statistics by half hour, and triggers that note the emails that change after they were counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mailctl.delivery_log.storage.rollup_triggers import create_rollup_triggers
from mailctl.delivery_log.storage.utc_time import UtcDateTime

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and the triggers."""
    op.create_table(
        "mailctl_rollup_periods",
        sa.Column("starts_at", UtcDateTime(), primary_key=True),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("announced_by", sa.BigInteger(), nullable=True),
        sa.Column("is_closed", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "mailctl_rollup_counts",
        sa.Column("starts_at", UtcDateTime(), primary_key=True),
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(16), primary_key=True),
        sa.Column("queue", sa.String(255), primary_key=True),
        sa.Column("campaign", sa.String(100), primary_key=True),
        sa.Column("server", sa.String(32), primary_key=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "mailctl_rollup_latencies",
        sa.Column("starts_at", UtcDateTime(), primary_key=True),
        sa.Column("campaign", sa.String(100), primary_key=True),
        sa.Column("bin", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("longest", sa.Float(), nullable=False),
    )
    op.create_table(
        "mailctl_rollup_changes",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(16), nullable=True),
        sa.Column("queue", sa.String(255), nullable=False),
        sa.Column("server", sa.String(32), nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.Column("is_gone", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_index("mailctl_rollup_changes_created", "mailctl_rollup_changes", ["created_at"])
    create_rollup_triggers(op.get_bind())
