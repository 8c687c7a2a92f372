"""Record which emails were published in full, so that a worker without this log can send them."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_BY_EARLIER_VERSION = "published by an earlier version; a worker without this delivery log may take it"


def upgrade() -> None:
    """Add the column, and set it for emails that may be on a broker in full."""
    op.add_column(
        "mailctl_emails", sa.Column("is_in_full", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    names = ("id", "state", "attempts", "queued_at", "updated_at", "queued_in", "campaign")
    flags = ("is_own_task", "is_grouped", "is_in_full")
    emails = sa.table(
        "mailctl_emails",
        *(sa.column(name) for name in names),
        *(sa.column(name, sa.Boolean()) for name in flags),
    )
    columns = ("email_id", "at", "state", "attempt", "text", "reason_code")
    events = sa.table("mailctl_events", *(sa.column(name) for name in columns))
    # An earlier version did not record which emails were in full, and wrote no notes to the broker.
    may_be_in_full = sa.and_(
        emails.c.state == "queued",
        emails.c.queued_in.is_(None),
        emails.c.campaign.is_(None),
        emails.c.is_own_task.is_(False),
        emails.c.is_grouped.is_(False),
    )
    at = sa.func.coalesce(emails.c.queued_at, emails.c.updated_at)
    text, code = sa.literal(_BY_EARLIER_VERSION), sa.literal("other_worker")
    published = sa.select(emails.c.id, at, emails.c.state, emails.c.attempts, text, code)
    op.execute(events.insert().from_select(columns, published.where(may_be_in_full)))
    op.execute(emails.update().where(may_be_in_full).values(is_in_full=sa.true()))
