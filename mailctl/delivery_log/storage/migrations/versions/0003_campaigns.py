"""Campaigns: many emails that are sent together, at a rate; and indices for a log that has grown."""

import sqlalchemy as sa
from alembic import op

from mailctl.delivery_log.storage.utc_time import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the table of campaigns, and exchange indices."""
    op.create_table(
        "mailctl_campaigns",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("rate", sa.Float(), nullable=True),
        sa.Column("released_until", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.add_column("mailctl_emails", sa.Column("campaign", sa.String(length=100), nullable=True))
    op.drop_index("mailctl_emails_due", table_name="mailctl_emails")
    op.drop_index("mailctl_emails_lease", table_name="mailctl_emails")
    op.create_index("mailctl_emails_due", "mailctl_emails", ["state", "campaign", "due_at"])
    op.create_index("mailctl_emails_state", "mailctl_emails", ["state", "seq"])
    op.create_index("mailctl_emails_user", "mailctl_emails", ["user_id", "seq"])
    op.create_index("mailctl_emails_campaign", "mailctl_emails", ["campaign", "seq"])
    has_lease = sa.text("lease_until IS NOT NULL")
    op.create_index(
        "mailctl_emails_lease",
        "mailctl_emails",
        ["lease_until"],
        sqlite_where=has_lease,
        postgresql_where=has_lease,
    )
