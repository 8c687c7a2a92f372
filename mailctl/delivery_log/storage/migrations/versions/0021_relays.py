"""Workers say whether their relays publish new emails at once."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column(
        "mailctl_workers",
        sa.Column("publishes_at_once", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
