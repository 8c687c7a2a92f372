"""The tables of the delivery log."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
)

from mailctl.delivery_log.storage.utc_time import UtcDateTime

metadata = MetaData()

#: An integer key that SQLite makes an alias of its rowid.
_Key = BigInteger().with_variant(Integer, "sqlite")

emails = Table(
    "mailctl_emails",
    metadata,
    Column("seq", _Key, primary_key=True, autoincrement=True),
    Column("id", String(155), nullable=False, unique=True),
    Column("kind", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("queue", String(255), nullable=False),
    Column("to_address", String(254), nullable=False),
    # One spelling for all addresses of a mailbox, by which the limits count.
    Column("mailbox", String(254)),
    Column("user_id", String(64)),
    # The block of IP addresses that the request came from, if the service has said so.
    Column("source", String(43)),
    Column("content", LargeBinary),
    Column("attempts", Integer, nullable=False, default=0),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    # When a relay may publish it; a relay that reserves it moves this on.
    Column("due_at", UtcDateTime, nullable=False),
    # It must not be claimed before this time.
    Column("not_before", UtcDateTime),
    Column("queued_at", UtcDateTime),
    # The worker in whose memory the message is; NULL for a broker outside the process.
    Column("queued_in", String(64)),
    Column("is_grouped", Boolean, nullable=False, server_default=false()),  # its message is that of a group
    Column("sent_at", UtcDateTime),
    Column("expires_at", UtcDateTime),
    Column("claim", String(32)),
    Column("lease_until", UtcDateTime),
    Column("worker", String(255)),
    Column("message_id", String(255)),
    Column("smtp_code", Integer),
    Column("smtp_enhanced", String(12)),
    Column("smtp_text", Text),
    # Why it is not sent: the text is for people, the code (a ReasonCode) is what statements compare.
    Column("error", Text),
    Column("reason_code", String(32)),
    Column("group_id", String(155)),
    Column("campaign", String(100)),
    # Neither suppressions nor limits apply to it, because an operator has said so.
    Column("is_forced", Boolean, nullable=False, server_default=false()),
    # A task that the service itself defines sends it. Such a task does not ask the delivery log before it
    # sends, so the email is never published again unless an operator says so.
    Column("is_own_task", Boolean, nullable=False, server_default=false()),
    # Its message carries the whole email, so that a worker without this log can send it.
    Column("is_in_full", Boolean, nullable=False, server_default=false()),
    # An attempt ended in such a way that the mail server may have accepted it.
    Column("maybe_sent", Boolean, nullable=False, server_default=false()),
    # The bulk action of an operator that stopped it; by this, it is undone.
    Column("stopped_by", String(32)),
    Column("resent_as", String(155)),  # the email that an operator made of this one
    Column("captured_file", Text),  # the file that it was written to instead of being sent
    # The mail server of the last attempt; NULL for the default one.
    Column("server", String(32)),
    # The mail servers that may send it, in order; NULL before the first attempt, and where there is but one.
    Column("route", String(300)),
    Column("tenant", String(64)),  # the tenant of the service that it belongs to
    Column("canary_report", JSON),  # how each step of a canary went
    # Whether its recipient may unsubscribe from such emails, so that a complaint stops them.
    Column("can_unsubscribe", Boolean, nullable=False, server_default=false()),
    # An email is written to every index that contains it at each change of its state: only what every email
    # needs is here, and `partial_indices` has the others.
    Index("mailctl_emails_state", "state", "seq"),
    Index("mailctl_emails_created", "created_at"),
    Index("mailctl_emails_mailbox", "mailbox", "created_at"),
    sqlite_autoincrement=True,
)
#: The state, for conditions on emails that are found by their ids. With the index on the state, which SQLite
#: would choose otherwise, it reads all emails in that state to find a hundred.
UNINDEXED_STATE = emails.c.state.concat("")

events = Table(
    "mailctl_events",
    metadata,
    Column("seq", _Key, primary_key=True, autoincrement=True),
    Column("email_id", String(155), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("worker", String(255)),
    Column("code", Integer),
    Column("text", Text, nullable=False, default=""),
    # The operator who acted; NULL for what happened by itself.
    Column("actor", String(128)),
    Column("reason_code", String(32)),
    # The SMTP stage at which an attempt failed.
    Column("stage", String(8)),
    Index("mailctl_events_email", "email_id"),
)

idempotency_keys = Table(
    "mailctl_idempotency_keys",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("email_id", String(155), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Index("mailctl_idempotency_keys_expiry", "expires_at"),
)

workers = Table(
    "mailctl_workers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("pool", String(32), nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("queues", JSON, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    # Seconds by which the clock of its host is ahead of that of the log; NULL if it has not said.
    Column("clock_skew", Float),
    Column("identity", JSON),  # what it runs with (`ProcessIdentity`)
    # Whether its relay is publishing new emails at once.
    Column("publishes_at_once", Boolean, nullable=False, server_default=false()),
)

#: One row: the id that the log got when its schema was created.
log = Table("mailctl_log", metadata, Column("id", String(32), primary_key=True))

campaigns = Table(
    "mailctl_campaigns",
    metadata,
    Column("id", String(100), primary_key=True),
    Column("kind", String(64), nullable=False),
    # Emails a second of all workers together; NULL for no limit.
    Column("rate", Float),
    # When it paused itself, which it does once.
    Column("paused_itself_at", UtcDateTime),
    # The emails that the rate allows until this time have been taken.
    Column("released_until", UtcDateTime, nullable=False),
    # The recent releases (`campaign_rates`): Unix time, emails, others on the broker and with workers, stall.
    Column("released", JSON),
    Column("created_at", UtcDateTime, nullable=False),
    Column("id_day", Integer),  # with which its emails' ids begin; NULL if an earlier version began it
)

circuits = Table(
    "mailctl_circuits",
    metadata,
    Column("server", String(300), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("probes", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    # The SMTP stage of that failure.
    Column("stage", String(8)),
    # What the mail server's reply was about (a ReplyCategory); NULL if it was no reply.
    Column("category", String(16)),
    Column("since", UtcDateTime, nullable=False),
    Column("probe_at", UtcDateTime, nullable=False),
)

send_limits = Table(
    "mailctl_send_limits",
    metadata,
    # `server NAME` or `domain NAME`.
    Column("scope", String(300), primary_key=True),
    # The places until this time have been taken by workers.
    Column("reserved_until", UtcDateTime, nullable=False),
    # Messages a second at which the mail server last refused one; NULL if it has not.
    Column("learned", Float),
    Column("learned_at", UtcDateTime),
    Column("reason", Text, nullable=False),  # what it said
    # Sessions that the server allows all workers together; NULL if it has not refused one.
    Column("sessions", Integer),
    Column("sessions_at", UtcDateTime),
    Column("sessions_reason", Text),
    # When one more is tried, and after how long again if it is refused.
    Column("trial_at", UtcDateTime),
    Column("trial_seconds", Float),
)

session_holders = Table(
    "mailctl_session_holders",
    metadata,
    # As in `send_limits`; and a pool of a worker process.
    Column("scope", String(300), primary_key=True),
    Column("holder", String(32), primary_key=True),
    # Sessions that are open, that it may have, and that it could use.
    Column("opened", Integer, nullable=False),
    Column("granted", Integer, nullable=False),
    Column("wanted", Integer, nullable=False),
    # Since when it has, or waits for, its first session.
    Column("since", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)

suppressions = Table(
    "mailctl_suppressions",
    metadata,
    Column("address", String(254), primary_key=True),  # in lower case
    Column("reason", Text, nullable=False),
    # bounce, complaint, operator or import.
    Column("source", String(16), nullable=False),
    Column("code", Integer),
    Column("enhanced", String(12)),
    Column("actor", String(128)),
    Column("created_at", UtcDateTime, nullable=False),
    # all, or optional: only emails that a recipient may unsubscribe from.
    Column("scope", String(8), nullable=False, server_default="all"),
    # The email whose feedback is the evidence; NULL if there is none.
    Column("email_id", String(155)),
)

feedback = Table(
    "mailctl_feedback",
    metadata,
    # Of the source and its id of the report: a report with the same digest is a repetition.
    Column("digest", String(64), primary_key=True),
    Column("email_id", String(155), nullable=False),
    Column("source", String(32), nullable=False),
    # A FeedbackKind, and a Proof.
    Column("kind", String(16), nullable=False),
    Column("proof", String(8), nullable=False),
    # By the clock of the source; NULL where it does not tell.
    Column("at", UtcDateTime),
    Column("received_at", UtcDateTime, nullable=False),
    Column("code", Integer),
    Column("enhanced", String(12)),
    # The words of the remote server; and one line about the report, for people.
    Column("text", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("remote_server", String(255)),
    Column("is_hard", Boolean, nullable=False),
    # It came before the outcome of the attempt was recorded, and is applied after that.
    Column("waits", Boolean, nullable=False),
    # The campaign that it counts against: of a hard bounce or a complaint.
    Column("campaign", String(100)),
    # It names another recipient than the email has, as after forwarding.
    Column("is_about_other", Boolean, nullable=False),
    Index("mailctl_feedback_email", "email_id"),
    Index("mailctl_feedback_received", "received_at"),
)

#: What was heard from each source, a row for each result.
feedback_counts = Table(
    "mailctl_feedback_counts",
    metadata,
    Column("source", String(32), primary_key=True),
    # A FeedbackResult.
    Column("result", String(16), primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
)

#: Recipients who want no more emails of a kind.
unsubscribes = Table(
    "mailctl_unsubscribes",
    metadata,
    # In lower case.
    Column("address", String(254), primary_key=True),
    Column("kind", String(64), primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
    # The email by which the recipient unsubscribed; NULL if it is not known.
    Column("email_id", String(155)),
)

pauses = Table(
    "mailctl_pauses",
    metadata,
    # queue, kind or campaign.
    Column("scope", String(8), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("since", UtcDateTime, nullable=False),
)

api_keys = Table(
    "mailctl_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
)

web_sessions = Table(
    "mailctl_web_sessions",
    metadata,
    # The hash of the token in the cookie.
    Column("digest", String(64), primary_key=True),
    Column("key_id", String(16), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

link_uses = Table(
    "mailctl_link_uses",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("purpose", String(64), nullable=False),
    Column("used_at", UtcDateTime, nullable=False),
    # When the link expires; after that its use may be deleted.
    Column("expires_at", UtcDateTime, nullable=False),
)

foreign_messages = Table(
    "mailctl_foreign_messages",
    metadata,
    Column("digest", String(64), primary_key=True),
    # How often workers have requeued it.
    Column("rounds", Integer, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Index("mailctl_foreign_messages_seen", "seen_at"),
)

#: The periods of half an hour whose emails are counted in the tables below.
rollup_periods = Table(
    "mailctl_rollup_periods",
    metadata,
    Column("starts_at", UtcDateTime, primary_key=True),
    Column("ends_at", UtcDateTime, nullable=False),
    # The transaction on PostgreSQL that announced that it would be rolled up; it is, once no older one runs.
    Column("announced_by", BigInteger),
    Column("is_closed", Boolean, nullable=False),
)

#: Emails by period and state; names that an email does not have are "".
rollup_counts = Table(
    "mailctl_rollup_counts",
    metadata,
    Column("starts_at", UtcDateTime, primary_key=True),
    Column("kind", String(64), primary_key=True),
    Column("state", String(16), primary_key=True),
    Column("queue", String(255), primary_key=True),
    Column("campaign", String(100), primary_key=True),
    Column("server", String(32), primary_key=True),
    Column("count", BigInteger, nullable=False),
)

#: Emails that were sent by period and latency, in the bins of a `LatencyHistogram`.
rollup_latencies = Table(
    "mailctl_rollup_latencies",
    metadata,
    Column("starts_at", UtcDateTime, primary_key=True),
    Column("campaign", String(100), primary_key=True),
    Column("bin", Integer, primary_key=True),
    Column("count", BigInteger, nullable=False),
    # The longest latency in the bin, in seconds.
    Column("longest", Float, nullable=False),
)

#: Emails that have changed since their period may have been rolled up, with what was counted of them.
#: Triggers write it: no statement can be forgotten.
rollup_changes = Table(
    "mailctl_rollup_changes",
    metadata,
    Column("seq", _Key, primary_key=True, autoincrement=False),
    Column("created_at", UtcDateTime, nullable=False),
    # NULL if it was recorded with a time that long ago.
    Column("state", String(16)),
    Column("queue", String(255), nullable=False),
    Column("server", String(32), nullable=False),
    Column("sent_at", UtcDateTime),
    # It was deleted, and perhaps others of its period: the period has to be counted again.
    Column("is_gone", Boolean, nullable=False, server_default=false()),
    Index("mailctl_rollup_changes_created", "created_at"),
)

users = Table(
    "mailctl_users",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("email", String(254), nullable=False, unique=True),
    Column("username", String(128), nullable=False, default=""),
    Column("first_name", String(128), nullable=False, default=""),
)
