"""Campaigns: emails that are recorded and sent in batches, at a rate that all workers share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, func, select, update
from sqlalchemy.exc import IntegrityError

from mailctl.delivery_log.campaign_rates import read_rate, record_rate
from mailctl.delivery_log.due import WAITING_STATES, route_condition, waiting_campaigns
from mailctl.delivery_log.new_rows import first_events
from mailctl.delivery_log.pauses import is_not_paused
from mailctl.delivery_log.queries.queue_stats import newest_events
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.batches import batches, is_among
from mailctl.delivery_log.storage.engine import can_flush, checkpoint, reading, writing
from mailctl.delivery_log.storage.notifications import notify
from mailctl.delivery_log.storage.raw_insert import PreparedInsert, insert_rows
from mailctl.delivery_log.storage.sqlite import enlarge_page_cache
from mailctl.delivery_log.storage.tables import campaigns, emails, events
from mailctl.delivery_log.storage.utc_time import UtcDateTime
from mailctl.delivery_log.transitions import StateChange, dialect_insert, insert_or_ignore
from mailctl.domain.campaign_rate import InFlight
from mailctl.domain.email_ids import day_of
from mailctl.domain.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from mailctl.delivery_log.outbox import Outbox
    from mailctl.domain.models import Draft

#: Seconds over which the pace is measured, and the states that follow an attempt.
_PACE_SECONDS = 5.0
_ENDED_ATTEMPTS = (State.SENT, State.CAPTURED, State.DEFERRED, State.FAILED, State.HELD)
_SELECT_KNOWN = select(emails.c.id).where(is_among(emails.c.id, "ids"))


@dataclass(frozen=True, kw_only=True)
class AddResult:
    """Which emails of a batch were recorded."""

    #: The ids of the new emails.
    new: list[str]
    #: Why each of them that is suppressed at once is suppressed, by id.
    suppressed: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class CampaignBatch:
    """Emails of a campaign that are ready to be recorded together."""

    #: How many emails were given; some may have had the same id.
    requested: int
    #: One draft for each id, as they were given.
    drafts: list[Draft]
    #: Their rows, in the order of the ids.
    rows: list[dict[str, Any]]
    at: datetime
    #: The rows and their first events, as parameters of the driver.
    prepared_inserts: tuple[PreparedInsert, PreparedInsert]


class Campaigns(Repository):
    """Records campaigns, and hands out their emails at the rate of each.

    Args:
        engine: of the delivery log's database, with the current schema.
        outbox: of the same log.
        clock: returns the current time, aware; None takes the clock of the log.
    """

    def __init__(
        self, engine: Engine, outbox: Outbox, *, clock: Callable[[], datetime] | None = None
    ) -> None:
        super().__init__(engine, clock=clock)
        self._outbox = outbox

    def find_id_day(self, campaign: str, *, now: datetime) -> int | None:
        """Return the day with which the ids of a campaign's emails begin; see `email_ids.day_of`.

        Returns:
            The current day if the campaign is not known; None if an earlier version of mailctl began it: its
            ids begin with no day.
        """
        query = select(campaigns.c.id_day).where(campaigns.c.id == campaign)
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        return day_of(now) if row is None else row.id_day

    def create_or_update(self, campaign: str, *, kind: str, rate: float | None) -> None:
        """Record a campaign, or change the rate of a known one.

        Args:
            rate: emails a second of all workers together; None for no limit, or for the rate of a known one.
        """
        now = self._clock()
        row = {
            "id": campaign,
            "kind": kind,
            "rate": rate,
            "released_until": now,
            "created_at": now,
            "id_day": day_of(now),
        }
        with writing(self._engine) as connection:
            if not insert_or_ignore(connection, campaigns, row) and rate is not None:
                _change_rate(connection, campaign, rate, now=now)

    def set_rate(self, campaign: str, rate: float | None) -> bool:
        """Change the rate of a campaign for all workers at once; return whether there is such a campaign.

        Args:
            rate: emails a second of all workers together; None for no limit.
        """
        with writing(self._engine) as connection:
            _change_rate(connection, campaign, rate, now=self._clock())
            known = select(campaigns.c.id).where(campaigns.c.id == campaign)
            return connection.execute(known).first() is not None

    def find_rate(self, campaign: str) -> tuple[float | None] | None:
        """Return the rate of a campaign (None in it for no limit); None if there is no such campaign."""
        query = select(campaigns.c.rate).where(campaigns.c.id == campaign)
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        return None if row is None else (row.rate,)

    def prepare_batch(self, drafts: Sequence[Draft]) -> CampaignBatch:
        """Return emails of a campaign as rows with encrypted content; nothing is recorded yet."""
        now = self._clock()
        distinct = {draft.id: draft for draft in drafts}
        # Neighbours in the indices on ids are recorded together, and later claimed and ended together, so
        # that fewer pages change.
        in_order = sorted(distinct.values(), key=attrgetter("id"))
        rows = [self._outbox.new_row(draft, due_at=now, now=now) for draft in in_order]
        return CampaignBatch(
            requested=len(drafts),
            drafts=list(distinct.values()),
            rows=rows,
            at=now,
            prepared_inserts=self._prepare_inserts(in_order, rows, now),
        )

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return which of the ids the log has."""
        with reading(self._engine) as connection:
            return _find_known(connection, ids)

    def _prepare_inserts(
        self, drafts: Sequence[Draft], rows: Sequence[dict[str, Any]], now: datetime
    ) -> tuple[PreparedInsert, PreparedInsert]:
        dialect = self._engine.dialect
        return PreparedInsert(emails, rows, dialect), PreparedInsert(
            events, first_events(drafts, now=now), dialect
        )

    def add(self, batch: CampaignBatch) -> AddResult:
        """Record a batch of emails; those whose id is known stay as they are.

        On SQLite they are on disk after the next `Outbox.flush`.
        """
        if not batch.rows:
            return AddResult(new=[], suppressed={})
        with writing(self._engine, durable=not can_flush(self._engine)) as connection:
            new = self._insert_new(connection, batch)
            refused = self._outbox.rules.apply(connection, new, now=batch.at)
            if new:
                notify(connection)
        # Between two transactions of this thread, when no transaction of its own keeps it from completing.
        checkpoint(self._engine)
        return AddResult(new=[draft.id for draft in new], suppressed=refused)

    def _insert_new(self, connection: Connection, batch: CampaignBatch) -> list[Draft]:
        """Insert the emails that are not known yet, and return them."""
        enlarge_page_cache(connection)
        try:
            # Mostly all are new, and looking for known ones first takes long.
            with connection.begin_nested():
                for ready in batch.prepared_inserts:
                    ready.insert(connection)
            return batch.drafts
        except IntegrityError:
            pass
        new_ids = _insert_unless_known(connection, batch.rows)
        new = [draft for draft in batch.drafts if draft.id in new_ids]
        insert_rows(connection, events, first_events(new, now=batch.at))
        return new

    def has_due(self) -> bool:
        """Whether any campaign has due emails, whether or not its rate allows them now."""
        now = self._clock()
        with reading(self._engine) as connection:
            return any(_is_due(connection, campaign, now) for campaign in waiting_campaigns(connection))

    def pace(self) -> float:
        """Return how many emails a second workers have finished recently, with any outcome; 0 if none."""
        recent = newest_events(since=self._clock() - timedelta(seconds=_PACE_SECONDS))
        ended = select(func.count()).select_from(recent).where(recent.c.state.in_(_ENDED_ATTEMPTS))
        with reading(self._engine) as connection:
            return float(connection.execute(ended).scalar_one()) / _PACE_SECONDS

    def take_due(
        self,
        *,
        limit: int,
        worker_id: str | None = None,
        own_task_kinds: Collection[str] = (),
        only_routes: Collection[str] = (),
        but_routes: Collection[str] = (),
    ) -> dict[str, str]:
        """Take due emails of one campaign, as many as its rate allows, to be published now.

        They are marked as queued; the caller has to publish them, or return them to the log.

        Args:
            worker_id: the worker in whose memory the messages will be; None for a broker outside the process.
            own_task_kinds: the kinds whose task the service defines itself; see `Outbox.mark_queued`.
            only_routes: as `Publications.reserve_due`.
            but_routes: as `Publications.reserve_due`.

        Returns:
            The kind of each email, by id.
        """
        now = self._clock()
        values = {"queued_at": now, "queued_in": worker_id, "own_task_kinds": sorted(own_task_kinds)}
        # If a power failure undoes this, the emails are published twice, and claimed once.
        with writing(self._engine, durable=bool(own_task_kinds)) as connection:
            for campaign in waiting_campaigns(connection):
                rate = read_rate(connection, campaign)
                allowed, in_flight = limit, InFlight()
                if rate is not None:
                    in_flight = _count_in_flight(connection, campaign)
                    allowed = min(limit, rate.allowed(now, in_flight))
                found = _take_due(
                    connection,
                    campaign,
                    only_routes=frozenset(only_routes),
                    but_routes=frozenset(but_routes),
                    limit=allowed,
                    values=values,
                    now=now,
                )
                if rate is not None and (found or rate.is_stalled(now, in_flight)):
                    record_rate(connection, campaign, rate.after_release(len(found), now, in_flight))
                if found:
                    return found
        return {}


def _change_rate(connection: Connection, campaign: str, rate: float | None, *, now: datetime) -> None:
    """Change the rate of a campaign; a new one holds from now on, whatever was released before."""
    is_new = and_(campaigns.c.id == campaign, campaigns.c.rate.is_distinct_from(rate))
    values = {"rate": rate, "released_until": now, "released": None}
    connection.execute(update(campaigns).where(is_new).values(**values))


def _find_known(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Return which of the ids the log has."""
    found: set[str] = set()
    for some in batches(ids):
        found |= set(connection.execute(_SELECT_KNOWN, {"ids": some}).scalars())
    return found


def _insert_unless_known(connection: Connection, rows: Sequence[dict[str, Any]]) -> frozenset[str]:
    """Insert the rows whose id is not known yet; return their ids."""
    if connection.dialect.name == "postgresql":
        statement = dialect_insert(connection, emails).on_conflict_do_nothing().returning(emails.c.id)
        return frozenset(connection.execute(statement, rows).scalars())
    # Nobody else writes during this transaction.
    known = _find_known(connection, [row["id"] for row in rows])
    new = [row for row in rows if row["id"] not in known]
    insert_rows(connection, emails, new)
    return frozenset(row["id"] for row in new)


def _is_due(connection: Connection, campaign: str, now: datetime) -> bool:
    is_waiting = emails.c.state.in_(WAITING_STATES)
    query = select(emails.c.seq).where(is_waiting, emails.c.campaign == campaign, emails.c.due_at <= now)
    return connection.execute(query.limit(1)).first() is not None


def _take_due(
    connection: Connection,
    campaign: str,
    *,
    only_routes: frozenset[str],
    but_routes: frozenset[str],
    limit: int,
    values: Mapping[str, Any],
    now: datetime,
) -> dict[str, str]:
    found: dict[str, str] = {}
    for state in WAITING_STATES:
        parameters = {**values, "of_campaign": campaign, "now": now, "most": limit - len(found)}
        take = _take(state, only_routes=only_routes, but_routes=but_routes)
        rows = take.run(connection, parameters, text="published to the broker", now=now)
        found |= {row.id: row.kind for row in rows}
    return found


@lru_cache(maxsize=32)
def _take(state: State, *, only_routes: frozenset[str], but_routes: frozenset[str]) -> StateChange:
    """Return the statement that takes due emails of a campaign in a state; building it takes long."""
    moment = bindparam("now", type_=UtcDateTime)
    due = (
        select(emails.c.id)
        .where(
            emails.c.state == state,
            emails.c.campaign == bindparam("of_campaign"),
            emails.c.due_at <= moment,
            is_not_paused(),
            route_condition(only=only_routes, but=but_routes),
        )
        .order_by(emails.c.due_at)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
    )
    return StateChange(
        emails.c.id.in_(due.scalar_subquery()),
        State.QUEUED,
        values={
            "queued_at": bindparam("queued_at", type_=UtcDateTime),
            "queued_in": bindparam("queued_in"),
            "is_own_task": emails.c.kind.in_(bindparam("own_task_kinds", expanding=True)),
            "is_in_full": False,
        },
        returning=(emails.c.kind,),
    )


def _count_in_flight(connection: Connection, campaign: str) -> InFlight:
    """Return how many emails of a campaign were released and have not ended."""
    is_in_flight = and_(emails.c.state.in_([State.QUEUED, State.SENDING]), emails.c.campaign == campaign)
    query = select(emails.c.state, func.count().label("number")).where(is_in_flight).group_by(emails.c.state)
    counts: dict[str, int] = {row.state: row.number for row in connection.execute(query)}
    return InFlight(queued=counts.get(State.QUEUED, 0), sending=counts.get(State.SENDING, 0))
