"""The sources of requests, by which a limit counts: blocks of IP addresses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_HAS_SOURCE = sa.text("source IS NOT NULL")


def upgrade() -> None:
    """Add the column and its index."""
    op.add_column("mailctl_emails", sa.Column("source", sa.String(43), nullable=True))
    op.create_index(
        "mailctl_emails_source",
        "mailctl_emails",
        ["source", "created_at"],
        sqlite_where=_HAS_SOURCE,
        postgresql_where=_HAS_SOURCE,
    )
