"""The partial indices of the delivery log: each holds only the rows that a query looks for, which are few."""

from __future__ import annotations

from sqlalchemy import Index, text

from mailctl.delivery_log.storage.tables import emails, feedback

#: The condition of an index on claimable emails, which are few however long the log is.
IS_CLAIMABLE = "state IN ('pending', 'queued', 'deferred')"
#: The condition of an index on reports that wait, which are few.
IS_WAITING_REPORT = "waits"
#: The condition of an index on reports by which campaigns pause themselves.
COUNTS_AGAINST_CAMPAIGN = "campaign IS NOT NULL"
#: The condition of an index on claimable emails that belong to no campaign. Statements that need it repeat
#: `IS_CLAIMABLE` literally: SQLite does not conclude it from one state that is a parameter.
IS_CLAIMABLE_SINGLE = f"campaign IS NULL AND {IS_CLAIMABLE}"
HAS_CAMPAIGN = "campaign IS NOT NULL"
HAS_USER = "user_id IS NOT NULL"
#: The condition of an index on emails that were requested together with others.
HAS_GROUP = "group_id IS NOT NULL"
#: The condition of an index on claimable emails that expire.
EXPIRES = f"{IS_CLAIMABLE} AND expires_at IS NOT NULL"
IS_WAITING_SECURITY_EMAIL = "kind IN ('reset', 'verification', 'new-ip') AND state IN ('pending', 'deferred')"
#: The condition of an index on emails whose messages are in the memory of a worker.
IS_IN_WORKER_MEMORY = "queued_in IS NOT NULL"
#: The condition of an index on emails whose request has named its source.
HAS_SOURCE = "source IS NOT NULL"


def add_partial_indices() -> None:
    """Add the partial indices to the tables, for a comparison with a database.

    They are separate, because the options of a dialect import the whole dialect.
    """
    for name, columns, where in (
        ("mailctl_emails_due", [emails.c.state, emails.c.due_at], IS_CLAIMABLE_SINGLE),
        ("mailctl_emails_campaign_due", [emails.c.state, emails.c.campaign, emails.c.due_at], HAS_CAMPAIGN),
        ("mailctl_emails_campaign", [emails.c.campaign, emails.c.seq], HAS_CAMPAIGN),
        ("mailctl_emails_user", [emails.c.user_id, emails.c.seq], HAS_USER),
        ("mailctl_emails_group", [emails.c.group_id], HAS_GROUP),
        ("mailctl_emails_expiry", [emails.c.state, emails.c.expires_at], EXPIRES),
        ("mailctl_emails_security", [emails.c.state, emails.c.due_at], IS_WAITING_SECURITY_EMAIL),
        ("mailctl_emails_held", [emails.c.queued_in], IS_IN_WORKER_MEMORY),
        ("mailctl_emails_source", [emails.c.source, emails.c.created_at], HAS_SOURCE),
        ("mailctl_feedback_waiting", [feedback.c.email_id], IS_WAITING_REPORT),
        ("mailctl_feedback_campaign", [feedback.c.campaign], COUNTS_AGAINST_CAMPAIGN),
    ):
        if name not in {index.name for index in columns[0].table.indexes}:
            Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))
