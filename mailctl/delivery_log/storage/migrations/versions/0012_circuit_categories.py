"""What the refusal was about that opened a circuit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of failures before, it is not known."""
    op.add_column("mailctl_circuits", sa.Column("category", sa.String(length=16), nullable=True))
