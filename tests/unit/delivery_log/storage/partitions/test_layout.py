"""Which partitions a log has, and which are missing."""

from __future__ import annotations

from datetime import date

import pytest

from mailctl.delivery_log.storage.partitions.layout import AHEAD, DayRange, PartitionLayout, ranges_from


def layout(*ranges: tuple[int, int]) -> PartitionLayout:
    return PartitionLayout(ranges=tuple(DayRange(first=first, end=end) for first, end in ranges))


def missing(found: PartitionLayout, today: int) -> list[tuple[int, int]]:
    return [(each.first, each.end) for each in found.missing(today)]


def test_a_partition_is_named_after_its_first_day() -> None:
    """And its bounds are the beginnings of ids."""
    days = DayRange(first=20_786, end=20_793)
    assert days.first_date == date(2026, 11, 29)
    assert days.table("mailctl_emails") == "mailctl_emails_20261129"
    assert days.bounds == ("5132", "5139")


def test_that_of_today_and_some_that_come_later_should_exist() -> None:
    """They follow the last one without a gap, whether or not that has ended."""
    assert AHEAD == 2
    assert missing(layout((93, 100)), 100) == [(100, 107), (107, 114), (114, 121)]
    assert missing(layout((93, 100), (100, 107)), 106) == [(107, 114), (114, 121)]
    assert missing(layout((100, 107), (107, 114), (114, 121)), 100) == []


def test_days_of_a_long_pause_get_no_partition() -> None:
    """Nothing was recorded in them, or it is old already."""
    assert missing(layout((93, 100)), 150) == [(149, 156), (156, 163), (163, 170)]


def test_a_gap_is_filled() -> None:
    """If it is today's, also before partitions that exist."""
    assert missing(layout((93, 100), (107, 114)), 100) == [(100, 107), (114, 121)]


def test_a_log_whose_partitions_were_all_dropped_gets_some() -> None:
    """Of as many days as if none had been asked for."""
    assert missing(layout(), 100) == [(100, 107), (107, 114), (114, 121)]
    assert layout().days == 7


@pytest.mark.parametrize(("day", "has_it"), [(92, False), (93, True), (99, True), (100, False)])
def test_a_range_has_its_first_day_and_not_its_end(day: int, has_it: bool) -> None:
    """So that neighbours do not overlap."""
    assert layout((93, 100)).has_day(day) is has_it
    assert not DayRange(first=93, end=100).overlaps(DayRange(first=100, end=107))
    assert DayRange(first=93, end=100).overlaps(DayRange(first=99, end=101))


def test_ranges_begin_before_a_day() -> None:
    """The last one may end after it."""
    assert [each.end for each in ranges_from(1, until=8, days=3)] == [4, 7, 10]
