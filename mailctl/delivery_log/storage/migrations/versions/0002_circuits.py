"""The circuit to the mail server, shared by all workers."""

import sqlalchemy as sa
from alembic import op

from mailctl.delivery_log.storage.utc_time import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of circuits."""
    op.create_table(
        "mailctl_circuits",
        sa.Column("server", sa.String(length=300), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("probes", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("probe_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("server"),
    )
