"""How often messages of other apps were put back on a queue that they share with mailctl."""

import sqlalchemy as sa
from alembic import op

from mailctl.delivery_log.storage.utc_time import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "mailctl_foreign_messages",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("rounds", sa.Integer, nullable=False),
        sa.Column("seen_at", UtcDateTime, nullable=False),
    )
    op.create_index("mailctl_foreign_messages_seen", "mailctl_foreign_messages", ["seen_at"])
