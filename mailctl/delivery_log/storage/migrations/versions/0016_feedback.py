"""Feedback: what is heard of emails after a mail server accepted them, and what follows for addresses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mailctl.delivery_log.storage.utc_time import UtcDateTime

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and the columns by which complaints stop only what can be unsubscribed from."""
    op.add_column(
        "mailctl_emails",
        sa.Column("can_unsubscribe", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column(
        "mailctl_suppressions", sa.Column("scope", sa.String(8), server_default="all", nullable=False)
    )
    op.add_column("mailctl_suppressions", sa.Column("email_id", sa.String(155), nullable=True))
    op.add_column("mailctl_campaigns", sa.Column("paused_itself_at", UtcDateTime(), nullable=True))
    op.create_table(
        "mailctl_feedback",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("email_id", sa.String(155), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("proof", sa.String(8), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=True),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("enhanced", sa.String(12), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("remote_server", sa.String(255), nullable=True),
        sa.Column("is_hard", sa.Boolean(), nullable=False),
        sa.Column("waits", sa.Boolean(), nullable=False),
        sa.Column("campaign", sa.String(100), nullable=True),
        sa.Column("is_about_other", sa.Boolean(), nullable=False),
    )
    op.create_index("mailctl_feedback_email", "mailctl_feedback", ["email_id"])
    op.create_index("mailctl_feedback_received", "mailctl_feedback", ["received_at"])
    for name, column, condition in (
        ("mailctl_feedback_waiting", "email_id", "waits"),
        ("mailctl_feedback_campaign", "campaign", "campaign IS NOT NULL"),
    ):
        where = sa.text(condition)
        op.create_index(name, "mailctl_feedback", [column], sqlite_where=where, postgresql_where=where)
    op.create_table(
        "mailctl_feedback_counts",
        sa.Column("source", sa.String(32), primary_key=True),
        sa.Column("result", sa.String(16), primary_key=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
    )
