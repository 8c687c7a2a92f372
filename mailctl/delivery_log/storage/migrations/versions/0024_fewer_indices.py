"""Fewer and smaller indices: each change of an email's state writes to all that contain its row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_EMAILS = "mailctl_emails"
_IS_CLAIMABLE = "state IN ('pending', 'queued', 'deferred')"


def upgrade() -> None:
    """Drop the index on leases, and rebuild those that need not contain every email."""
    # Emails with a lease are few, and the index on the state finds them.
    _drop("mailctl_emails_lease")
    for name, columns, where in (
        ("mailctl_emails_due", ["state", "due_at"], f"campaign IS NULL AND {_IS_CLAIMABLE}"),
        ("mailctl_emails_campaign_due", ["state", "campaign", "due_at"], "campaign IS NOT NULL"),
        ("mailctl_emails_campaign", ["campaign", "seq"], "campaign IS NOT NULL"),
        ("mailctl_emails_user", ["user_id", "seq"], "user_id IS NOT NULL"),
        ("mailctl_emails_group", ["group_id"], "group_id IS NOT NULL"),
        ("mailctl_emails_expiry", ["state", "expires_at"], f"{_IS_CLAIMABLE} AND expires_at IS NOT NULL"),
    ):
        _drop(name)
        condition = sa.text(where)
        op.create_index(name, _EMAILS, columns, sqlite_where=condition, postgresql_where=condition)


def _drop(name: str) -> None:
    # An administrator may have dropped an index that was never used.
    op.drop_index(name, table_name=_EMAILS, if_exists=True)
