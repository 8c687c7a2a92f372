"""Groups of single emails, with an index on the security emails that wait; recent releases of campaigns."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_WAITS = "kind IN ('reset', 'verification', 'new-ip') AND state IN ('pending', 'deferred')"


def upgrade() -> None:
    """Add the columns and the index."""
    op.add_column("mailctl_campaigns", sa.Column("released", sa.JSON(), nullable=True))
    op.add_column(
        "mailctl_emails", sa.Column("is_grouped", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    waits = sa.text(_WAITS)
    op.create_index(
        "mailctl_emails_security",
        "mailctl_emails",
        ["state", "due_at"],
        sqlite_where=waits,
        postgresql_where=waits,
    )
