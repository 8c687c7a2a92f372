"""Indices for what the relay looks for while a million emails wait."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add indices, and the state to one that SQLite did not prefer without."""
    op.drop_index("mailctl_emails_expiry", "mailctl_emails")
    for name, columns, where in (
        ("mailctl_emails_expiry", ["state", "expires_at"], "state IN ('pending', 'queued', 'deferred')"),
        ("mailctl_emails_held", ["queued_in"], "queued_in IS NOT NULL"),
    ):
        op.create_index(
            name, "mailctl_emails", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
        )
    op.create_index("mailctl_idempotency_keys_expiry", "mailctl_idempotency_keys", ["expires_at"])
