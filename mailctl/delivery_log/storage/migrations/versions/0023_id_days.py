"""Campaigns remember the day with which the ids of their emails begin."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("mailctl_campaigns", sa.Column("id_day", sa.Integer(), nullable=True))
