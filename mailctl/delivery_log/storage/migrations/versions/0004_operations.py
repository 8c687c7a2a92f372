"""What operators do: actors of events, suppressed addresses, pauses, keys, used links; and more indices."""

import sqlalchemy as sa
from alembic import op

from mailctl.delivery_log.storage.utc_time import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_IS_CLAIMABLE = "state IN ('pending', 'queued', 'deferred')"


def upgrade() -> None:
    """Add columns, tables and indices."""
    op.add_column(
        "mailctl_emails", sa.Column("is_forced", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column("mailctl_events", sa.Column("actor", sa.String(length=128), nullable=True))
    op.create_table(
        "mailctl_suppressions",
        sa.Column("address", sa.String(length=254), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("enhanced", sa.String(length=12), nullable=True),
        sa.Column("actor", sa.String(length=128), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("address"),
    )
    op.create_table(
        "mailctl_pauses",
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "name"),
    )
    op.create_table(
        "mailctl_keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "mailctl_link_uses",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("mailctl_emails_created", "mailctl_emails", ["created_at"])
    op.create_index("mailctl_emails_recipient", "mailctl_emails", ["to_address", "created_at"])
    op.create_index(
        "mailctl_emails_expiry",
        "mailctl_emails",
        ["expires_at"],
        sqlite_where=sa.text(_IS_CLAIMABLE),
        postgresql_where=sa.text(_IS_CLAIMABLE),
    )
