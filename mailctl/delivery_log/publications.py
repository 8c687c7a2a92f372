"""Publications: due emails are handed to relays here, and it is recorded which are on the broker."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    not_,
    select,
    true,
    update,
)
from sqlalchemy import text as sql_text

from mailctl.delivery_log.campaign_rates import return_to_log
from mailctl.delivery_log.due import WAITING_STATES, is_claimable_single, may_start, route_condition
from mailctl.delivery_log.pauses import is_not_paused
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.rows import EMAIL_COLUMNS, email_from_row
from mailctl.delivery_log.storage.batches import is_among
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.notifications import notify
from mailctl.delivery_log.storage.partial_indices import IS_WAITING_SECURITY_EMAIL
from mailctl.delivery_log.storage.prepared_statements import repeat_if_refused
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails
from mailctl.delivery_log.storage.utc_time import UtcDateTime
from mailctl.delivery_log.transitions import StateChange, change_state, reason_values
from mailctl.domain.own_tasks import OTHER_WORKER
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import CLAIMABLE_STATES, State

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection

    from mailctl.delivery_log.due import GroupableEmails
    from mailctl.domain.models import Email

#: Seconds for which a relay reserves a due email; if the relay fails, another tries after that.
RESERVE_SECONDS = 5
#: The conditions of due emails, in the order in which they are sent. Each is literally the condition of a
#: partial index, so that the index is used. The first one must not contain the condition of all due emails:
#: SQLite would prefer the index of these, and read all that wait to find the few security emails.
_SECURITY_FIRST = (
    and_(sql_text(IS_WAITING_SECURITY_EMAIL), emails.c.campaign.is_(None)),
    is_claimable_single(),
)
_MOMENT: BindParameter[datetime] = bindparam("moment", type_=UtcDateTime)
_LEAVE = (
    update(emails)
    .where(
        is_among(emails.c.id, "ids"),
        UNINDEXED_STATE == State.PENDING,
        may_start(_MOMENT),
        emails.c.due_at > _MOMENT,
    )
    .values(due_at=_MOMENT)
)
_MARK_QUEUED = StateChange(
    and_(
        is_among(emails.c.id, "ids"),
        # Not an email that a fast worker has deferred already, before this was written.
        may_start(bindparam("moment", type_=UtcDateTime)),
    ),
    State.QUEUED,
    values={
        "queued_at": bindparam("moment"),
        "queued_in": bindparam("queued_in"),
        "is_own_task": bindparam("is_own_task"),
        "is_grouped": bindparam("is_grouped"),
        "is_in_full": bindparam("is_in_full"),
    },
)


class Publications(Repository):
    """Hands due emails to relays, and records which are on the broker and which cannot be published."""

    def reserve_due(
        self,
        *,
        limit: int,
        besides: GroupableEmails | None = None,
        only_routes: Collection[str] = (),
        but_routes: Collection[str] = (),
    ) -> list[Email]:
        """Return due emails that are not on the broker, the oldest first; campaigns are not among them.

        No other relay gets them for `RESERVE_SECONDS`; `mark_queued` then records that they were published.

        Args:
            limit: how many at most.
            besides: the emails that wait to travel in groups, which are left out; None for all emails.
            only_routes: only emails with one of these routes, or without a known one; () for any route.
            but_routes: no emails with one of these routes.
        """
        now = self._clock()
        found: list[Email] = []
        with writing(self._engine) as connection:
            # One query for each state, so that the index gives the first ones at once.
            where = route_condition(only=only_routes, but=but_routes)
            where = and_(where, not_(besides.condition)) if besides else where
            for state in WAITING_STATES:
                found += _reserve(connection, state, where, limit=limit - len(found), now=now)
        return found

    def count_due(self, groupable: GroupableEmails, *, limit: int, but_routes: Collection[str] = ()) -> int:
        """Return how many emails are due that may travel in groups and are not on the broker.

        Args:
            groupable: the emails that may travel in groups.
            limit: how many are counted at most.
            but_routes: no emails with one of these routes.
        """
        return self._count_due(and_(groupable.condition, route_condition(but=but_routes)), limit=limit)

    def find_due(self, groupable: GroupableEmails, *, limit: int) -> list[str]:
        """Return due emails that are not on the broker: security emails first, and then the oldest.

        They are not reserved: the first worker that claims an email sends it.

        Args:
            groupable: the emails that may travel in groups; no others are returned.
            limit: how many at most.
        """
        now, found = self._clock(), list[str]()
        with reading(self._engine) as connection:
            for which, state in product(_SECURITY_FIRST, WAITING_STATES):
                if len(found) < limit:
                    where = and_(groupable.condition, emails.c.id.not_in(found))
                    due = _due(state, where, limit=limit - len(found), now=now, which=which)
                    found += connection.execute(due).scalars()
        return found

    def has_due(self) -> bool:
        """Return whether an email is due that is not on the broker."""
        return self._count_due(true(), limit=1) > 0

    def _count_due(self, where: ColumnElement[bool], *, limit: int) -> int:
        now, found = self._clock(), 0
        with reading(self._engine) as connection:
            for state in WAITING_STATES:
                due = select(emails.c.seq).where(_is_due(state, now=now), where).limit(limit - found)
                found += len(connection.execute(due).all())
        return found

    def take_group(
        self,
        groupable: GroupableEmails,
        *,
        limit: int,
        worker_id: str | None = None,
        but_routes: Collection[str] = (),
    ) -> list[str]:
        """Take due emails to be published as one group; return their ids.

        Security emails come first, and then the oldest. They are marked as queued: the caller has to publish
        them, or return them to the log.

        Args:
            groupable: the emails that may travel in groups.
            limit: how many at most.
            worker_id: as for `mark_queued`.
            but_routes: no emails with one of these routes.
        """
        now = self._clock()
        parameters: dict[str, Any] = {"moment": now, "queued_in": worker_id}
        found: list[str] = []
        with writing(self._engine) as connection:
            for taking in _take_group(groupable, frozenset(but_routes)):
                if len(found) < limit:
                    parameters["wanted"] = limit - len(found)
                    text = "published to the broker in a group"
                    found += [row.id for row in taking.run(connection, parameters, text=text, now=now)]
        return found

    def wake_relays(self) -> None:
        """Wake the relays that listen on a server: emails are due that nobody else publishes."""
        if self._engine.dialect.name == "postgresql":
            # If a failure undoes this, nothing is lost: relays also look by themselves.
            with writing(self._engine, durable=False) as connection:
                notify(connection)

    def leave_to_relays(self, ids: Collection[str]) -> None:
        """Make new emails due at once, although the process that recorded them does not publish them."""
        # If this is undone, relays publish them a little later.
        with writing(self._engine, durable=False) as connection:
            connection.execute(_LEAVE, {"ids": list(ids), "moment": self._clock()})

    def mark_queued(
        self,
        ids: Collection[str],
        *,
        worker_id: str | None = None,
        is_own_task: bool = False,
        is_grouped: bool = False,
    ) -> int:
        """Record that messages for these emails are on the broker.

        Args:
            worker_id: the worker in whose memory the messages are; None for a broker outside the process.
            is_own_task: whether they are for a task that the service itself defines. This is then recorded
                before it is published, and durably: nothing else keeps such a message from being published
                twice.
            is_grouped: whether their message is that of a group.

        Returns:
            How many of the emails were still waiting to be published.
        """
        values = {"queued_in": worker_id, "is_own_task": is_own_task, "is_grouped": is_grouped}
        # If a power failure undoes this, the emails are published twice, and claimed once.
        return len(self._mark_queued(ids, values | {"is_in_full": False}, durable=is_own_task))

    def mark_in_full(self, ids: Collection[str], *, is_loss_provable: bool = True) -> frozenset[str]:
        """Record that emails are about to be published in full.

        A worker without this log sends an email as soon as it gets the message, so this is recorded durably
        before the message is published.

        Args:
            is_loss_provable: whether the broker could later prove that it has lost the messages; see
                `BrokerAdapter.is_loss_provable`.

        Returns:
            The ids of those that were still waiting to be published.
        """
        values = {"queued_in": None, "is_own_task": False, "is_grouped": False, "is_in_full": True}
        code = None if is_loss_provable else ReasonCode.OTHER_WORKER
        return frozenset(self._mark_queued(ids, values, durable=True, code=code))

    def _mark_queued(
        self,
        ids: Collection[str],
        values: dict[str, Any],
        *,
        durable: bool,
        code: ReasonCode | None = None,
    ) -> list[str]:
        parameters, text, now = {"ids": list(ids)} | values, "published to the broker", self._clock()
        text += f"; {OTHER_WORKER} may take it" if code is ReasonCode.OTHER_WORKER else ""

        def mark() -> list[str]:
            with writing(self._engine, durable=durable) as connection:
                rows = _MARK_QUEUED.run(connection, parameters, text=text, now=now, code=code)
                return [row.id for row in rows]

        return repeat_if_refused(mark)

    def return_unpublished(self, email_id: str) -> None:
        """Return an email to the log that was recorded as published, but that the broker refused."""
        now, values = self._clock(), {"due_at": self._clock(), "queued_at": None, "queued_in": None}
        is_it = and_(emails.c.id == email_id, emails.c.state == State.QUEUED)
        with writing(self._engine) as connection:
            return_to_log(
                connection,
                is_it,
                text="the broker refused its message",
                values=values,
                now=now,
                code=ReasonCode.PUBLISHING_FAILED,
            )

    def postpone(self, email_id: str, *, until: datetime, reason: str) -> None:
        """Record why a due email could not be published, and when a relay tries again."""
        problem = reason_values(Reason(code=ReasonCode.PUBLISHING_FAILED, text=reason))
        with writing(self._engine) as connection:
            connection.execute(
                update(emails).where(_is_unpublished(email_id)).values(due_at=until, **problem)
            )

    def fail(self, email_id: str, *, reason: str) -> None:
        """Record that an email can never be published."""
        self._end(_is_unpublished(email_id), State.FAILED, Reason(code=ReasonCode.UNPUBLISHABLE, text=reason))

    def suppress(self, email_id: str, *, reason: str) -> None:
        """Suppress an unclaimed email to a recipient that the policy of this environment forbids."""
        is_unclaimed = and_(emails.c.id == email_id, emails.c.state.in_(CLAIMABLE_STATES))
        self._end(is_unclaimed, State.SUPPRESSED, Reason(code=ReasonCode.NOT_ALLOWED, text=reason))

    def _end(self, where: ColumnElement[bool], target: State, reason: Reason) -> None:
        values, now = reason_values(reason), self._clock()
        with writing(self._engine) as connection:
            change_state(
                connection, where, target, text=reason.text, values=values, now=now, code=reason.code
            )


def _is_unpublished(email_id: str) -> ColumnElement[bool]:
    return and_(emails.c.id == email_id, emails.c.state.in_([State.PENDING, State.DEFERRED]))


@lru_cache(maxsize=16)
def _take_group(groupable: GroupableEmails, but_routes: frozenset[str]) -> list[StateChange]:
    """Return the statements that take a group, in order; building them takes longer than running them."""
    may_be_taken = and_(groupable.condition, route_condition(but=but_routes))
    values = {
        "queued_at": _MOMENT,
        "queued_in": bindparam("queued_in"),
        "is_grouped": True,
        "is_in_full": False,
    }
    due = [
        _due(
            state, may_be_taken, limit=bindparam("wanted", type_=Integer), now=_MOMENT, which=each
        ).with_for_update(skip_locked=True)
        for each, state in product(_SECURITY_FIRST, WAITING_STATES)
    ]
    return [StateChange(emails.c.id.in_(each.scalar_subquery()), State.QUEUED, values=values) for each in due]


def _is_due(
    state: State,
    *,
    now: datetime | BindParameter[datetime],
    which: ColumnElement[bool] | None = None,
) -> ColumnElement[bool]:
    # Celery itself has the message of an own task that waits for its next attempt.
    is_not_celerys = true() if state is not State.DEFERRED else emails.c.is_own_task.is_(False)
    return and_(
        emails.c.state == state,
        is_not_celerys,
        is_claimable_single() if which is None else which,
        emails.c.due_at <= now,
        is_not_paused(),
    )


def _due(
    state: State,
    where: ColumnElement[bool],
    *,
    limit: int | BindParameter[int],
    now: datetime | BindParameter[datetime],
    which: ColumnElement[bool] | None = None,
) -> Select[Any]:
    """Return the query for due emails, the oldest first.

    Args:
        state: their state.
        where: a further condition.
        limit: how many at most.
        now: the current time.
        which: the condition of the partial index to use; None for the index of all due emails.
    """
    is_due = _is_due(state, now=now, which=which)
    return select(emails.c.id).where(is_due, where).order_by(emails.c.due_at).limit(limit)


def _reserve(
    connection: Connection, state: State, where: ColumnElement[bool], *, limit: int, now: datetime
) -> list[Email]:
    due = _due(state, where, limit=limit, now=now).with_for_update(skip_locked=True)
    reserve = (
        update(emails)
        .where(emails.c.id.in_(due.scalar_subquery()))
        .values(due_at=now + timedelta(seconds=RESERVE_SECONDS))
        .returning(*EMAIL_COLUMNS, emails.c.seq)
    )
    return [email_from_row(row) for row in sorted(connection.execute(reserve).all(), key=lambda row: row.seq)]
