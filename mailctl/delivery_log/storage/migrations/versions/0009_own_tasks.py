"""Which emails a task sends that the service itself defines."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column(
        "mailctl_emails", sa.Column("is_own_task", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
