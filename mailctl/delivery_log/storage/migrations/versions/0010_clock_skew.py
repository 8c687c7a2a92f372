"""By how much the clocks of the workers' hosts differ from that of the database."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; a worker that has not written it yet is an older one."""
    op.add_column("mailctl_workers", sa.Column("clock_skew", sa.Float(), nullable=True))
