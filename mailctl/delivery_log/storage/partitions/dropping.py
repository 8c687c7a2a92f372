"""Partitions are dropped as a whole when all emails in them are old, instead of deleting each email."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, column, delete, false, func, not_, or_, select, table, text, true

from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.partitions.conversion_state import is_converting
from mailctl.delivery_log.storage.partitions.layout import KEYS, DayRange, PartitionLayout, read_layout
from mailctl.delivery_log.storage.partitions.locks import is_locked_out, limit_lock_waits, take_turn
from mailctl.delivery_log.storage.tables import emails, events, feedback, rollup_changes, rollup_periods
from mailctl.domain.email_ids import day_of
from mailctl.domain.states import FINAL_STATES, State
from mailctl.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from sqlalchemy import Connection, Engine

#: How many days later than due the emails of a partition are deleted one by one, if a few that are not
#: finished, or that changed late, keep it from being dropped.
STRAGGLER_DAYS = 7
_UNFINISHED = tuple(state for state in State if state not in FINAL_STATES)


def find_droppable(engine: Engine, *, before: datetime) -> dict[DayRange, int]:
    """Return the partitions that `drop_old` would drop, each with the number of its emails."""
    with reading(engine) as connection:
        ended = _ended(_usable_layout(connection), before)
        counts = {days: _count_if_old(connection, days, before=before) for days in ended}
    return {days: number for days, number in counts.items() if number is not None}


def drop_old(engine: Engine, *, before: datetime) -> Iterator[int]:
    """Drop the partitions whose emails all ended before a time; yield how many emails each had, if any.

    One that others are using for long is left to the next call.

    Raises:
        LogUnavailable: the delivery log cannot be used, or this user may not drop tables.
    """
    with reading(engine) as connection:
        ended = _ended(_usable_layout(connection), before)
    for days in ended:
        number = _drop_if_old(engine, days, before=before)
        if number:
            yield number


def is_deleted_one_by_one(
    engine: Engine, *, before: datetime, dropped: Collection[DayRange] = ()
) -> ColumnElement[bool]:
    """Return the condition that an email that ended before a time is not left until its partition is dropped.

    It holds for all emails of a log without partitions.

    Args:
        before: the time.
        dropped: partitions that will have been dropped by then.
    """
    with reading(engine) as connection:
        layout = read_layout(connection)
    if layout is None:
        return true()
    recent = [days for days in layout.ranges if days.end > day_of(before) - STRAGGLER_DAYS]
    kept = {*recent, *dropped}
    return not_(or_(false(), *(_has_id_of(days, emails.c.id) for days in kept)))


def _has_id_of(days: DayRange, ids: ColumnElement[str]) -> ColumnElement[bool]:
    first, end = days.bounds
    return and_(ids >= first, ids < end)


def _usable_layout(connection: Connection) -> PartitionLayout | None:
    """Return the layout, unless the log is being converted: a dropped partition would come back."""
    layout = read_layout(connection)
    return None if layout is None or is_converting(connection) else layout


def _ended(layout: PartitionLayout | None, before: datetime) -> list[DayRange]:
    # The last one says how many days the next one has.
    return [days for days in layout.ranges[:-1] if days.end <= day_of(before)] if layout else []


def _partition(days: DayRange) -> Any:
    columns = [column(each.name, each.type) for each in emails.c]
    return table(days.table(emails.name), *columns)


def _count_if_old(connection: Connection, days: DayRange, *, before: datetime) -> int | None:
    """Return how many emails a partition has; None if one has not ended, or ended later."""
    if _has_unfinished(connection, days):
        return None
    part = _partition(days)
    is_young = part.c.updated_at >= before
    counts = select(func.count(), func.count().filter(is_young)).select_from(part)
    number, young = connection.execute(counts).one()
    return None if young else int(number)


def _has_unfinished(connection: Connection, days: DayRange) -> bool:
    part = _partition(days)
    # By state, for which there is an index; the condition that a state is none of these could not use it.
    unfinished = (select(part.c.seq).where(part.c.state == state).limit(1) for state in _UNFINISHED)
    return any(connection.execute(query).first() is not None for query in unfinished)


def _drop_if_old(engine: Engine, days: DayRange, *, before: datetime) -> int | None:
    """Drop a partition unless it has an email that has not ended, or ended later; return how many it had."""
    with reading(engine) as connection:
        last_event = _last_event(connection, days)
        number = _count_if_old(connection, days, before=before)
    if number is None:
        return None
    try:
        with writing(engine) as connection:
            limit_lock_waits(connection)
            take_turn(connection)
            if _usable_layout(connection) is None:
                return None
            _lock(connection, days)
            # Counting took long, and was done without a lock.
            if _has_unfinished(connection, days) or _last_event(connection, days) != last_event:
                return None
            _drop(connection, days)
    except LogUnavailable as error:
        if is_locked_out(error):
            return None
        raise
    return number


def _last_event(connection: Connection, days: DayRange) -> int | None:
    part: Any = table(days.table(events.name), column("seq"))
    last: int | None = connection.execute(select(func.max(part.c.seq))).scalar()
    return last


def _lock(connection: Connection, days: DayRange) -> None:
    for parent in KEYS:
        connection.execute(text(f"LOCK TABLE ONLY {parent} IN ACCESS EXCLUSIVE MODE"))
        connection.execute(text(f"LOCK TABLE {days.table(parent)} IN ACCESS EXCLUSIVE MODE"))


def _drop(connection: Connection, days: DayRange) -> None:
    _note_in_rollup(connection, days)
    connection.execute(delete(feedback).where(_has_id_of(days, feedback.c.email_id)))
    for parent in KEYS:
        connection.execute(text(f"DROP TABLE {days.table(parent)}"))


def _note_in_rollup(connection: Connection, days: DayRange) -> None:
    """Note that the periods which counted these emails have lost some, like the trigger for deleted ones."""
    part = _partition(days)
    in_period = and_(
        part.c.created_at >= rollup_periods.c.starts_at, part.c.created_at < rollup_periods.c.ends_at
    )
    one = select(part.c.seq, part.c.created_at).where(in_period).limit(1).lateral("one")
    columns = ["seq", "created_at", "state", "queue", "server", "is_gone"]
    values = (one.c.seq, one.c.created_at, text("'gone'"), text("''"), text("''"), text("true"))
    found = select(*values).select_from(rollup_periods.join(one, text("true")))
    from sqlalchemy.dialects.postgresql import insert

    note = insert(rollup_changes).from_select(columns, found)
    connection.execute(note.on_conflict_do_update(index_elements=["seq"], set_={"is_gone": text("true")}))
