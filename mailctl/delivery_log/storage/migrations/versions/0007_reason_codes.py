"""Reason codes, stages and columns of their own, in place of facts that only the wording of texts told.

This is the one place that compares wording: it translates the rows of versions that had nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op

if TYPE_CHECKING:
    from collections.abc import Sequence

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_MAYBE_SENT = "the mail server may have it already"
_STAGES = ("connect", "tls", "auth", "mail", "rcpt", "data", "body")
#: What an event of a failed attempt begins with: a kind of outcome, or a refusal.
_ATTEMPT_PREFIXES = ("deferred", "ambiguous", "config", "refused")

_emails: Any = sa.table(
    "mailctl_emails",
    *(sa.column(name) for name in ("id", "kind", "state", "worker", "attempts", "error", "reason_code")),
    *(sa.column(name) for name in ("smtp_text", "resent_as", "captured_file", "content")),
    sa.column("maybe_sent", sa.Boolean),
    sa.column("canary_report", sa.JSON),
)
_events: Any = sa.table(
    "mailctl_events",
    *(sa.column(name) for name in ("seq", "email_id", "state", "attempt", "worker", "text", "actor")),
    *(sa.column(name) for name in ("reason_code", "stage")),
)
_circuits: Any = sa.table("mailctl_circuits", sa.column("reason"), sa.column("stage"))


def upgrade() -> None:
    """Add the columns, and fill them from the wording."""
    _add_columns()
    connection = op.get_bind()
    stage = _stage(_events.c.text, _ATTEMPT_PREFIXES)
    connection.execute(_events.update().where(stage.is_not(None)).values(stage=stage))
    connection.execute(_circuits.update().values(stage=_stage(_circuits.c.reason, ("",))))
    code = sa.case(*_event_codes(), else_=None)
    connection.execute(_events.update().where(code.is_not(None)).values(reason_code=code))
    _move_facts(connection)
    has_error = _emails.c.error.is_not(None)
    code = sa.case(*_email_codes(), else_=_code_of_last_attempt(connection))
    connection.execute(_emails.update().where(has_error).values(reason_code=code))
    _code_last_events(connection)


def _add_columns() -> None:
    for column in (
        sa.Column("reason_code", sa.String(length=32), nullable=True),
        sa.Column("maybe_sent", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("resent_as", sa.String(length=155), nullable=True),
        sa.Column("captured_file", sa.Text(), nullable=True),
        sa.Column("canary_report", sa.JSON(), nullable=True),
    ):
        op.add_column("mailctl_emails", column)
    op.add_column("mailctl_events", sa.Column("reason_code", sa.String(length=32), nullable=True))
    op.add_column("mailctl_events", sa.Column("stage", sa.String(length=8), nullable=True))
    op.add_column("mailctl_circuits", sa.Column("stage", sa.String(length=8), nullable=True))


def _stage(text: Any, prefixes: Sequence[str]) -> Any:
    """Return the SMTP stage that a text names after one of its first words."""
    return sa.case(
        *(
            (sa.or_(*(text.startswith(f"{prefix} at {stage}: ".lstrip()) for prefix in prefixes)), stage)
            for stage in _STAGES
        ),
        else_=None,
    )


def _waiting_codes(text: Any) -> list[tuple[Any, str]]:
    """Return the codes that texts of emails and of events have in common, by condition."""
    return [
        (text.startswith("kept back: "), "mail_server_down"),
        (text.startswith("over the ceiling: "), "over_global_limit"),
        (text.startswith("over the limit of "), "over_limit"),
        (text.startswith("the address is suppressed since "), "suppressed_address"),
        (text.startswith("its worker disappeared while sending; "), "worker_disappeared"),
        (text.startswith(f"held: {_MAYBE_SENT}"), "no_reply"),
        (text.startswith("gave up after "), "out_of_attempts"),
        (
            sa.and_(text.startswith("gave up: "), text.contains(" workers disappeared ")),
            "worker_disappeared",
        ),
        (text.startswith("would expire before the next attempt; "), "would_expire"),
        (text.startswith("its links died"), "expired"),
        (text.startswith("a task of the service's own reports FAILURE"), "own_task_failed"),
    ]


def _event_codes() -> list[tuple[Any, str]]:
    text, state = _events.c.text, _events.c.state
    is_operator = _events.c.actor.is_not(None)
    return [
        (sa.and_(is_operator, state.in_(("held", "cancelled"))), "stopped"),
        (sa.and_(is_operator, text.startswith("resent as ")), "resent"),
        (sa.and_(is_operator, text.startswith("recorded; is a resend of ")), "resend"),
        (sa.and_(is_operator, text.startswith("recorded; no rule keeps it back")), "forced"),
        (sa.and_(is_operator, text.startswith("retried")), "retried"),
        (sa.and_(is_operator, text.startswith("released")), "released"),
        *_waiting_codes(text),
        (text.startswith("a task of the service's own reports SUCCESS"), "own_task_succeeded"),
        (text == "received from another program", "received"),
        (text == "the broker lost its message", "broker_lost"),
        (text == "the worker that held its message is gone", "worker_lost"),
        (text == "other emails go first", "not_started"),
        (text == "was paused for a moment", "paused"),
        (sa.and_(text.startswith("queue "), text.contains(" paused by ")), "paused"),
        (sa.and_(text.startswith("kind "), text.contains(" paused by ")), "paused"),
        (sa.and_(state == "deferred", text.startswith("ambiguous at ")), "no_reply"),
        (sa.and_(state == "deferred", text.startswith("config at ")), "configuration"),
        (sa.and_(state == "deferred", text.startswith("deferred at ")), "deferred"),
        (sa.and_(state == "deferred", text.contains("sealed with another SECRET_KEY")), "unreadable_content"),
        (state == "deferred", "configuration"),
        (sa.and_(state == "failed", text.startswith("refused ")), "refused"),
        (state == "suppressed", "not_allowed"),
    ]


def _move_facts(connection: sa.Connection) -> None:
    """Move what texts carried into the columns for it."""
    emails, events = _emails, _events
    in_doubt = sa.select(events.c.email_id).where(events.c.text.contains(_MAYBE_SENT))
    connection.execute(emails.update().where(emails.c.id.in_(in_doubt)).values(maybe_sent=True))
    resent_as = sa.func.substr(emails.c.error, len("resent as ") + 1)
    is_resent = emails.c.error.startswith("resent as ")
    connection.execute(emails.update().where(is_resent).values(resent_as=resent_as))
    is_captured = emails.c.state == "captured"
    connection.execute(
        emails.update().where(is_captured).values(captured_file=emails.c.smtp_text, smtp_text=None)
    )
    # The report of an old canary is of no use: who asked for it has long given up.
    connection.execute(emails.update().where(emails.c.kind == "canary").values(smtp_text=None))


def _email_codes() -> list[tuple[Any, str]]:
    error, state = _emails.c.error, _emails.c.state
    is_untried = _emails.c.attempts == 0
    return [
        (error.startswith("resent as "), "resent"),
        *_waiting_codes(error),
        (sa.and_(state.in_(("held", "cancelled")), error.contains(" by ")), "stopped"),
        (sa.and_(state == "failed", error.startswith("refused ")), "refused"),
        (sa.and_(state == "failed", _emails.c.kind == "canary"), "canary_failed"),
        (sa.and_(state == "failed", is_untried, _emails.c.content.is_(None)), "invalid_message"),
        (sa.and_(state == "failed", is_untried), "unpublishable"),
        (state == "failed", "not_composed"),
        (state == "suppressed", "not_allowed"),
        (state == "expired", "expired"),
    ]


def _code_of_last_attempt(connection: sa.Connection) -> Any:
    """Return the code of the attempt that the error of an unfinished email is about."""
    position = sa.func.strpos if connection.dialect.name == "postgresql" else sa.func.instr
    of_attempt = (
        sa.select(_events.c.reason_code)
        .where(
            _events.c.email_id == _emails.c.id,
            _events.c.state == "deferred",
            position(_events.c.text, _emails.c.error) > 0,
        )
        .order_by(_events.c.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    is_waiting = _emails.c.state.in_(("pending", "queued", "sending", "deferred"))
    otherwise = sa.case((is_waiting, "publishing_failed"), else_="unspecified")
    return sa.func.coalesce(of_attempt, otherwise)


def _code_last_events(connection: sa.Connection) -> None:
    """Give the event of a failure whose wording tells nothing the code of its email."""
    of_email = sa.select(_emails.c.reason_code).where(_emails.c.id == _events.c.email_id).scalar_subquery()
    is_untold = sa.and_(_events.c.state == "failed", _events.c.reason_code.is_(None))
    connection.execute(_events.update().where(is_untold).values(reason_code=of_email))
