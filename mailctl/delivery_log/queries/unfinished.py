"""Unfinished emails, counted by what may hold them up: state, queue, kind, reason and worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import case, func, select

from mailctl.delivery_log.due import starts_later
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import UNFINISHED_STATES, State

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

    from mailctl.delivery_log.heartbeats import Worker


@dataclass(frozen=True, kw_only=True)
class UnfinishedEmails:
    """Unfinished emails that have the same state, queue, kind, campaign, reason and worker."""

    state: State
    queue: str
    kind: str
    campaign: str | None
    reason_code: ReasonCode | None
    #: The worker that is sending them; None unless they are being sent.
    worker: str | None
    #: Whether they must not be sent before a later time.
    is_later: bool
    count: int
    #: When the first of them was changed, and when its lease ends (None unless they are being sent).
    changed_at: datetime
    lease_until: datetime | None
    #: The earliest time for which one of them is scheduled; None if none is.
    not_before: datetime | None

    @property
    def is_scheduled(self) -> bool:
        """Whether nothing but the time for which they are scheduled keeps them."""
        return self.is_later and self.state is State.PENDING and self.reason_code is None

    def may_be_held_by(self, worker: Worker | None) -> bool:
        """Whether a worker may be sending them; one that was started after the claim is another one."""
        return worker is not None and worker.name == self.worker and worker.started_at <= self.changed_at


def count_unfinished(engine: Engine, *, now: datetime) -> list[UnfinishedEmails]:
    """Return the unfinished emails in groups; groups without emails are left out.

    Args:
        engine: of the delivery log.
        now: the current time, aware.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    is_sending = emails.c.state == State.SENDING
    worker = case((is_sending, emails.c.worker), else_=None).label("worker")
    is_later = case((starts_later(now), 1), else_=0).label("is_later")
    keys = (
        *(emails.c.state, emails.c.queue, emails.c.kind, emails.c.campaign, emails.c.reason_code),
        *(worker, is_later),
    )
    query = (
        select(
            *keys,
            func.count().label("count"),
            func.min(emails.c.updated_at).label("changed_at"),
            func.max(emails.c.lease_until).label("lease_until"),
            func.min(emails.c.not_before).label("not_before"),
        )
        .where(emails.c.state.in_(UNFINISHED_STATES))
        .group_by(*keys)
    )
    with reading(engine) as connection:
        return [
            UnfinishedEmails(
                **{
                    **row._asdict(),
                    "state": State(row.state),
                    "reason_code": row.reason_code and ReasonCode(row.reason_code),
                    "is_later": bool(row.is_later),
                }
            )
            for row in connection.execute(query)
        ]
