"""The layout of the log: which partitions it has, as the database tells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from mailctl.delivery_log.storage.tables import emails, events
from mailctl.domain.email_ids import day_digits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

#: The tables that are partitioned, each with the column by which it is.
KEYS = {emails.name: "id", events.name: "email_id"}
#: The partitions that have no days.
LOW, HIGH, OTHER = "low", "high", "other"
#: The days of a partition, unless others are asked for.
DEFAULT_DAYS = 7
#: Partitions that are made before their days come; each one more slows statements down that reach all.
AHEAD = 2
#: The days, from the first, between `low` and `high`.
HORIZON_DAYS = 20 * 365
_EPOCH = date(1970, 1, 1)
_BOUNDS = re.compile(r"FROM \('([0-9a-f]+)'\) TO \('([0-9a-f]+)'\)")
_SELECT_PARTITIONS = text(
    "SELECT pg_get_expr(part.relpartbound, part.oid) FROM pg_inherits"
    " JOIN pg_class AS part ON part.oid = inhrelid"
    f" WHERE inhparent = to_regclass('{emails.name}')"
)
_IS_PARTITIONED = text(f"SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass('{emails.name}')")


@dataclass(frozen=True, kw_only=True)
class DayRange:
    """The days of one partition, as numbers of days since 1970-01-01."""

    first: int
    #: The first day after it.
    end: int

    @property
    def first_date(self) -> date:
        """The first day."""
        return _EPOCH + timedelta(days=self.first)

    @property
    def bounds(self) -> tuple[str, str]:
        """The least id, and the least that is too great."""
        return day_digits(self.first), day_digits(self.end)

    def overlaps(self, other: DayRange) -> bool:
        """Whether a day is in both ranges."""
        return self.first < other.end and other.first < self.end

    def table(self, parent: str) -> str:
        """Return the name of the partition of a table."""
        return f"{parent}_{self.first_date:%Y%m%d}"


@dataclass(frozen=True, kw_only=True)
class PartitionLayout:
    """The partitions of a log."""

    #: In order; there may be gaps.
    ranges: tuple[DayRange, ...]

    @property
    def days(self) -> int:
        """The number of days of a new partition."""
        return self.ranges[-1].end - self.ranges[-1].first if self.ranges else DEFAULT_DAYS

    def missing(self, today: int) -> list[DayRange]:
        """Return the ranges that should exist on a day, and do not: its own, and some that come later."""
        last = self.ranges[-1].first if self.ranges else today
        wanted = ranges_from(
            last + (today - last) // self.days * self.days,
            until=today + 1 + AHEAD * self.days,
            days=self.days,
        )
        return [each for each in wanted if not any(map(each.overlaps, self.ranges))]

    def has_day(self, day: int) -> bool:
        """Whether emails that are recorded on a day have a partition of their own."""
        return any(each.first <= day < each.end for each in self.ranges)


def ranges_from(first: int, *, until: int, days: int) -> Iterator[DayRange]:
    """Yield ranges of days until all have begun that begin before a day."""
    for start in range(first, until, days):
        yield DayRange(first=start, end=start + days)


def read_layout(connection: Connection) -> PartitionLayout | None:
    """Return the partitions of a log; None if it has none."""
    if connection.dialect.name != "postgresql" or not connection.execute(_IS_PARTITIONED).scalar():
        return None
    bounds: Sequence[str] = connection.execute(_SELECT_PARTITIONS).scalars().all()
    matches = [_BOUNDS.search(each) for each in bounds]
    found = [DayRange(first=int(match[1], 16), end=int(match[2], 16)) for match in matches if match]
    return PartitionLayout(ranges=tuple(sorted(found, key=lambda each: each.first)))
