"""What each worker runs with, so that a worker that differs is found; and the identity of the log itself."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and give the log an id."""
    op.add_column("mailctl_workers", sa.Column("identity", sa.JSON(), nullable=True))
    log = op.create_table(
        "mailctl_log", sa.Column("id", sa.String(length=32), nullable=False), sa.PrimaryKeyConstraint("id")
    )
    op.bulk_insert(log, [{"id": uuid.uuid4().hex}])
