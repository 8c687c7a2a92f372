"""Emails remember that their message was published in full, so that a worker without this log can send it."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column(
        "mailctl_emails", sa.Column("is_in_full", sa.Boolean(), nullable=False, server_default=sa.false())
    )
