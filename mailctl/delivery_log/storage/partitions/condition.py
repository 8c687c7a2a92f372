"""The condition of the partitions: whether some are missing, and whether the server has room for them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.partitions.conversion_state import is_converting
from mailctl.delivery_log.storage.partitions.layout import KEYS, read_layout
from mailctl.domain.email_ids import day_of

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

    from mailctl.delivery_log.storage.partitions.layout import PartitionLayout

#: Statements at the same time that reach all partitions, for which the server should have room.
_STATEMENTS = 10
#: The locks of a statement on all partitions and their indexes, and those that the server has room for.
_LOCKS = """
SELECT (SELECT sum(1 + (SELECT count(*) FROM pg_index WHERE indrelid = relid))
        FROM pg_partition_tree(to_regclass('{table}'))) AS taken,
    CAST(current_setting('max_locks_per_transaction') AS integer)
    * (CAST(current_setting('max_connections') AS integer)
        + CAST(current_setting('max_prepared_transactions') AS integer)) AS room
"""


@dataclass(frozen=True, kw_only=True)
class PartitionCondition:
    """How the partitions of a log are."""

    #: The days of a partition; None without partitions.
    days: int | None = None
    #: The number of partitions that have days.
    number: int = 0
    #: Whether the emails of today have a partition.
    has_today: bool = True
    #: Whether a conversion has begun and not ended.
    is_converting: bool = False
    #: The locks of a statement on all partitions, and those that the server has room for.
    locks: int = 0
    room: int = 0

    @property
    def is_crowded(self) -> bool:
        """Whether the server may have no room for the locks of a few statements at the same time."""
        return self.locks * _STATEMENTS > self.room


def read_condition(engine: Engine, *, now: datetime) -> PartitionCondition:
    """Return how the partitions of a log are.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    with reading(engine) as connection:
        layout = read_layout(connection)
        is_unfinished = is_converting(connection)
        if layout is None:
            return PartitionCondition(is_converting=is_unfinished)
        locks = connection.execute(text(_LOCKS.format(table=next(iter(KEYS))))).one()
    return PartitionCondition(
        days=layout.days,
        number=len(layout.ranges),
        has_today=layout.has_day(day_of(now)),
        is_converting=is_unfinished,
        locks=int(locks.taken),
        room=int(locks.room),
    )


def find_layout(engine: Engine) -> PartitionLayout | None:
    """Return the partitions of a log; None if it has none.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    with reading(engine) as connection:
        return read_layout(connection)
