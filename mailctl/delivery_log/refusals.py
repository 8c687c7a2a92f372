"""Refusals: how attempts ended recently, and emails that are tried once more after everybody was refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, exists, false, func, or_, select

from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.batches import batches
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import emails, events
from mailctl.delivery_log.transitions import change_state, is_state_change, reason_values
from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.routing import DEFAULT_SERVER
from mailctl.domain.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Any

    from sqlalchemy import ColumnElement, Row

#: The newest ends of attempts that are read, and the newest events that are searched for them: no index leads
#: to the events of a time.
_MAX_ENDS = 1000
_NEWEST_EVENTS = 5000
#: Emails that are returned at most.
_MAX_RETURNED = 20_000
_WAS_REFUSED = and_(events.c.state == State.FAILED, events.c.reason_code == ReasonCode.REFUSED)
_SELECT_REFUSAL = select(events.c.seq).where(events.c.seq > bindparam("after"), _WAS_REFUSED).limit(1)
_SELECT_LAST_EVENT = select(events.c.seq).order_by(events.c.seq.desc()).limit(1)


@dataclass(frozen=True, kw_only=True)
class LoggedEnd:
    """The end of an attempt, as the delivery log has it: sent, or refused for good."""

    email_id: str
    at: datetime
    #: In lower case.
    recipient: str
    #: None if the email was accepted.
    reply: SmtpReply | None
    stage: str
    #: The name of the mail server of its last attempt.
    server: str = DEFAULT_SERVER
    #: Whether the email has been returned since, or was before.
    has_been_returned: bool = False


class Refusals(Repository):
    """Reads how attempts ended, and returns refused emails to the log once."""

    def recent_ends(self, *, since: datetime, with_deferrals: bool = False) -> list[LoggedEnd]:
        """Return how attempts ended since a time, newest first; second refusals are left out.

        Args:
            since: the earliest time.
            with_deferrals: whether to include what the mail server deferred, or we have to correct.
        """
        newest = self.last_event()
        is_deferral = and_(events.c.state == State.DEFERRED, events.c.stage.is_not(None))
        was_deferred = is_deferral if with_deferrals else false()
        query = (
            select(
                events.c.email_id,
                events.c.at,
                events.c.state,
                events.c.stage,
                emails.c.to_address,
                emails.c.smtp_code,
                emails.c.smtp_enhanced,
                emails.c.smtp_text,
                emails.c.server,
                _has_been_returned().label("has_been_returned"),
            )
            .join(emails, emails.c.id == events.c.email_id)
            .where(
                events.c.seq > newest - _NEWEST_EVENTS,
                events.c.at >= since,
                is_state_change(),
                or_(
                    events.c.state == State.SENT,
                    was_deferred,
                    and_(_WAS_REFUSED, ~_was_returned_before_event()),
                ),
            )
            .order_by(events.c.seq.desc())
            .limit(_MAX_ENDS)
        )
        with reading(self._engine) as connection:
            return [_end_from_row(row) for row in connection.execute(query)]

    def last_event(self) -> int:
        """Return the number of the newest event; 0 if there is none."""
        with reading(self._engine) as connection:
            return connection.execute(_SELECT_LAST_EVENT).scalar() or 0

    def has_refusal(self, *, after: int) -> bool:
        """Whether any email was refused for good, as an event after the one of a number says."""
        with reading(self._engine) as connection:
            return connection.execute(_SELECT_REFUSAL, {"after": after}).first() is not None

    def refused_once(self, *, since: datetime, server: str) -> dict[str, SmtpReply]:
        """Return the replies to emails that a server refused since a time and that were not returned before.

        Emails that a task of the service itself sends are not among them: only it can send them again.
        """
        query = (
            select(emails.c.id, emails.c.smtp_code, emails.c.smtp_enhanced, emails.c.smtp_text)
            .where(
                _is_refused(),
                emails.c.updated_at >= since,
                func.coalesce(emails.c.server, DEFAULT_SERVER) == server,
                ~_has_been_returned(),
            )
            .limit(_MAX_RETURNED)
        )
        with reading(self._engine) as connection:
            rows: Any = connection.execute(query).all()
        return {row.id: _reply_from_row(row) for row in rows}

    def return_once(self, ids: Sequence[str], *, until: datetime, text: str) -> int:
        """Return refused emails to the log, to wait until the mail server accepts email again.

        Args:
            ids: the ids of the emails.
            until: none of them is tried before this time.
            text: why, for people.

        Returns:
            How many were returned; none a second time.
        """
        now, code = self._clock(), ReasonCode.REFUSED_FOR_ALL
        values = reason_values(Reason(code=ReasonCode.MAIL_SERVER_DOWN, text=text))
        values |= {"due_at": until, "not_before": until, "queued_at": None, "queued_in": None}
        returned = 0
        for some in batches(ids):
            where = and_(emails.c.id.in_(some), _is_refused(), ~_has_been_returned())
            with writing(self._engine) as connection:
                changed = change_state(
                    connection, where, State.PENDING, text=text, values=values, now=now, code=code
                )
                returned += len(changed)
        return returned


def _is_refused() -> ColumnElement[bool]:
    return and_(
        emails.c.state == State.FAILED,
        emails.c.reason_code == ReasonCode.REFUSED,
        emails.c.is_own_task.is_(False),
    )


def _has_been_returned() -> ColumnElement[bool]:
    marker = events.alias("marker")
    is_marked = and_(marker.c.email_id == emails.c.id, marker.c.reason_code == ReasonCode.REFUSED_FOR_ALL)
    return exists().where(is_marked)


def _was_returned_before_event() -> ColumnElement[bool]:
    marker = events.alias("earlier")
    is_marked = and_(
        marker.c.email_id == events.c.email_id,
        marker.c.reason_code == ReasonCode.REFUSED_FOR_ALL,
        marker.c.seq < events.c.seq,
    )
    return exists().where(is_marked)


def _end_from_row(row: Row[Any]) -> LoggedEnd:
    return LoggedEnd(
        email_id=row.email_id,
        at=row.at,
        recipient=row.to_address.lower(),
        reply=None if row.state == State.SENT else _reply_from_row(row),
        stage=row.stage or "",
        server=row.server or DEFAULT_SERVER,
        has_been_returned=bool(row.has_been_returned),
    )


def _reply_from_row(row: Row[Any]) -> SmtpReply:
    return SmtpReply(code=row.smtp_code, enhanced=row.smtp_enhanced, text=row.smtp_text or "")
