"""Emails that wait: which may start, since when they wait, and for which campaigns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, bindparam, case, func, or_, select, true
from sqlalchemy import text as sql_text

from mailctl.delivery_log.storage.partial_indices import IS_CLAIMABLE
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.catalog import CANARY
from mailctl.domain.states import State
from mailctl.settings import BULK_QUEUE, GROUPS_QUEUE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from sqlalchemy import BindParameter, Connection

#: The emails of one message of a campaign, and of a group of single emails, at most.
BATCH_SIZE = 100
GROUP_SIZE = 50
#: How many emails a message of a queue delivers at most; of other queues one.
EMAILS_OF_MESSAGE = {BULK_QUEUE: BATCH_SIZE, GROUPS_QUEUE: GROUP_SIZE}
#: The states of emails that wait for a relay.
WAITING_STATES = (State.DEFERRED, State.PENDING)
_NEXT_CAMPAIGN = select(func.min(emails.c.campaign)).where(
    emails.c.state == bindparam("state"), emails.c.campaign > bindparam("last")
)


@dataclass(frozen=True, kw_only=True)
class GroupableEmails:
    """The single emails that may travel in groups; all others travel one by one."""

    #: Their queues; empty if none may.
    queues: frozenset[str] = frozenset()
    #: The kinds whose task the service defines itself: such a task sends one email.
    own_task_kinds: frozenset[str] = frozenset()

    def include(self, *, queue: str, kind: str, is_own_task: bool) -> bool:
        """Whether an email is one of them."""
        return queue in self.queues and not is_own_task and kind not in self._other_kinds

    @property
    def condition(self) -> ColumnElement[bool]:
        """The condition that an email is one of them."""
        return and_(
            emails.c.queue.in_(sorted(self.queues)),
            emails.c.is_own_task.is_(False),
            emails.c.kind.not_in(sorted(self._other_kinds)),
        )

    @property
    def _other_kinds(self) -> frozenset[str]:
        return self.own_task_kinds | {CANARY.name}


def is_claimable_single() -> ColumnElement[bool]:
    """Return the condition that an email belongs to no campaign and may still be claimed.

    It is the condition of a partial index, literally, so that the index is used; the state has to be named
    besides.
    """
    return and_(emails.c.campaign.is_(None), sql_text(IS_CLAIMABLE))


def may_start(moment: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """Return the condition that an email may be claimed at a moment, as far as its `not_before` decides.

    `not_before` is the time for which an email is scheduled, or until which it was deferred.
    """
    return or_(emails.c.not_before.is_(None), emails.c.not_before <= moment)


def starts_later(moment: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """Return the condition that an email may not be claimed at a moment yet; the opposite of `may_start`."""
    return emails.c.not_before > moment


def route_condition(*, only: Collection[str] = (), but: Collection[str] = ()) -> ColumnElement[bool]:
    """Return a condition on the mail servers that may send an email; unknown before its first attempt.

    Args:
        only: the routes that it may have; () for any.
        but: the routes that it must not have.
    """
    is_unknown = emails.c.route.is_(None)
    wanted = or_(is_unknown, emails.c.route.in_(sorted(only))) if only else true()
    return and_(wanted, or_(is_unknown, emails.c.route.not_in(sorted(but)))) if but else wanted


def message_queue() -> ColumnElement[str]:
    """Return the queue on the broker that the message of a published email is in."""
    return case((emails.c.is_grouped.is_(True), GROUPS_QUEUE), else_=emails.c.queue)


def waiting_since() -> ColumnElement[datetime]:
    """Return the time since which an email waits: when it was recorded, or for which it was scheduled.

    The time of its next attempt does not count.
    """
    is_untried = and_(emails.c.attempts == 0, emails.c.reason_code.is_(None))
    return case(
        (and_(is_untried, emails.c.not_before.is_not(None)), emails.c.not_before), else_=emails.c.created_at
    )


def waiting_campaigns(connection: Connection) -> Iterator[str]:
    """Yield the campaigns that have waiting emails, without reading the emails."""
    for state in WAITING_STATES:
        last: str | None = ""
        while (
            last := connection.execute(_NEXT_CAMPAIGN, {"state": state, "last": last}).scalar()
        ) is not None:
            yield last
