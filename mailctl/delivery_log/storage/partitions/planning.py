"""What a conversion would do: decided before anything is changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.partitions.conversion_state import read_states
from mailctl.delivery_log.storage.partitions.layout import (
    AHEAD,
    DEFAULT_DAYS,
    KEYS,
    DayRange,
    ranges_from,
    read_layout,
)
from mailctl.domain.email_ids import DAY_DIGITS, day_of
from mailctl.domain.partition_actions import PartitionAction
from mailctl.domain.shell_command import mailctl_command
from mailctl.errors import ConfigurationError, InvalidInput, Refused

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Engine

#: Partitions that the emails of a log may need when it is converted.
MAX_PARTITIONS = 200
_MAX_DAYS = 366
#: The days of the emails whose ids begin with theirs.
_DAYS = f"""
SELECT DISTINCT day FROM (
    SELECT id, CAST(floor(extract(epoch FROM created_at) / 86400) AS integer) AS day FROM mailctl_emails
) AS days WHERE left(id, {DAY_DIGITS}) = lpad(to_hex(day), {DAY_DIGITS}, '0')
"""
#: Of a table, or of its partitions.
_SIZE = """
SELECT sum(GREATEST(0, reltuples)) AS rows, sum(pg_total_relation_size(oid)) AS bytes FROM pg_class
WHERE relkind = 'r' AND (oid = to_regclass('{table}')
    OR oid IN (SELECT relid FROM pg_partition_tree(to_regclass('{table}'))))
"""
_OWNER = f"""
SELECT pg_get_userbyid(relowner) FROM pg_class
WHERE oid = to_regclass('{next(iter(KEYS))}') AND pg_get_userbyid(relowner) <> current_user
"""


@dataclass(frozen=True, kw_only=True)
class PartitionPlan:
    """What a conversion would do."""

    action: PartitionAction
    #: The days of a partition; None without partitions.
    days: int | None
    #: The partitions that there will be, besides those without days.
    ranges: tuple[DayRange, ...] = ()
    #: Rows of all tables, as the database estimates them, and their bytes with indexes.
    rows: int = 0
    bytes: int = 0
    #: Whether an interrupted conversion continues.
    is_begun: bool = False

    @property
    def is_large(self) -> bool:
        """Whether all rows are copied, or what was copied is thrown away."""
        return self.action not in (PartitionAction.CREATE, PartitionAction.NOTHING)


def plan_partitions(engine: Engine, *, now: datetime, days: int | None) -> PartitionPlan:
    """Return what is to be done so that the log has partitions.

    Args:
        engine: of the delivery log's database, with the current schema.
        now: the current time.
        days: the days of a partition; None for those that the log has, or for a week.

    Raises:
        ConfigurationError: the log is not on PostgreSQL, or this user does not own its tables.
        InvalidInput: the number of days is not usable.
        Refused: the log has partitions of another number of days already.
    """
    _refuse_other_databases(engine)
    if days is not None and not 1 <= days <= _MAX_DAYS:
        raise InvalidInput("--every", f"must be 1d to {_MAX_DAYS}d.")
    with reading(engine) as connection:
        _refuse_other_owner(connection)
        layout, states = read_layout(connection), read_states(connection)
        known = layout.days if layout else states[0].days if states else None
        if known is not None and days not in (None, known):
            raise _other_days_error(known)
        wanted = known or days or DEFAULT_DAYS
        if layout is not None:
            if states:
                return PartitionPlan(action=PartitionAction.DISCARD, days=layout.days, ranges=layout.ranges)
            missing = tuple(layout.missing(day_of(now)))
            return PartitionPlan(action=PartitionAction.CREATE, days=layout.days, ranges=missing)
        rows, size = _size(connection)
        ranges = () if states else _ranges(connection, today=day_of(now), days=wanted)
        return PartitionPlan(
            action=PartitionAction.CONVERT,
            days=wanted,
            ranges=ranges,
            rows=rows,
            bytes=size,
            is_begun=bool(states),
        )


def plan_undo(engine: Engine) -> PartitionPlan:
    """Return what is to be done so that the log has no partitions.

    Raises:
        ConfigurationError: the log is not on PostgreSQL, or this user does not own its tables.
    """
    _refuse_other_databases(engine)
    with reading(engine) as connection:
        _refuse_other_owner(connection)
        layout, states = read_layout(connection), read_states(connection)
        if layout is None:
            return PartitionPlan(
                action=PartitionAction.DISCARD if states else PartitionAction.NOTHING, days=None
            )
        rows, size = _size(connection)
        return PartitionPlan(
            action=PartitionAction.UNDO, days=None, rows=rows, bytes=size, is_begun=bool(states)
        )


def _refuse_other_databases(engine: Engine) -> None:
    if engine.dialect.name != "postgresql":
        raise ConfigurationError(
            "Only a delivery log on PostgreSQL can have partitions, and this one is a SQLite file.",
            fix="Set MAILCTL_DATABASE_URL to a database on PostgreSQL.",
        )


def _refuse_other_owner(connection: Connection) -> None:
    owner = connection.execute(text(_OWNER)).scalar()
    if owner is not None:
        raise ConfigurationError(
            f"The tables of the delivery log belong to the database user {owner!r}, who must convert them.",
            fix="Run the command with a MAILCTL_DATABASE_URL of that user.",
        )


def _other_days_error(known: int) -> Refused:
    undo = mailctl_command("db", "partition", undo=True)
    return Refused(
        f"The log has partitions of {known} days already, or is being converted to them.",
        fix=f"Leave out --every, or run first: {undo}",
    )


def _size(connection: Connection) -> tuple[int, int]:
    """Return about how many rows the tables have, and how many bytes with their indexes."""
    sizes = [connection.execute(text(_SIZE.format(table=table))).one() for table in KEYS]
    # Nothing is estimated of tables that are too small to have been analysed.
    counts = (connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in KEYS)
    rows = int(sum(size.rows for size in sizes)) or sum(counts)
    return rows, int(sum(size.bytes for size in sizes))


def _ranges(connection: Connection, *, today: int, days: int) -> tuple[DayRange, ...]:
    """Return the ranges for the emails that there are, and for those of the next days."""
    found = sorted(day for day in connection.execute(text(_DAYS)).scalars() if day <= today)
    first = found[0] if found else today
    ranges = ranges_from(first, until=today + 1 + AHEAD * days, days=days)
    needed = [
        each for each in ranges if each.end > today or any(each.first <= day < each.end for day in found)
    ]
    if len(needed) > MAX_PARTITIONS:
        raise Refused(
            f"The emails of the log would need {len(needed)} partitions of {days} days; more than"
            f" {MAX_PARTITIONS} slow each statement down.",
            fix="Give more days with --every, or delete old emails first: mailctl prune.",
        )
    return tuple(needed)
