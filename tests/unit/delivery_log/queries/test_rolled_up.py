"""Which parts of a span are rolled up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert

from mailctl.delivery_log.queries.rolled_up import PERIOD, TimeRange, period_start, read_coverage
from mailctl.delivery_log.storage.engine import open_engine, reading, writing
from mailctl.delivery_log.storage.schema_version import ensure_current
from mailctl.delivery_log.storage.tables import rollup_periods
from mailctl.delivery_log.storage.urls import parse_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

START = datetime(2030, 5, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A log in which the periods 0, 1 and 3 are rolled up."""
    engine = open_engine(parse_url(f"sqlite:///{tmp_path / 'log.db'}", setting="X"), setting="X")
    ensure_current(engine)
    with writing(engine) as connection:
        for number in range(4):
            at = START + number * PERIOD
            row = {"starts_at": at, "ends_at": at + PERIOD, "is_closed": number != 2}
            connection.execute(insert(rollup_periods), [row])
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    ("since", "until", "rolled_up", "others"),
    [
        (None, None, [(0, 60), (90, 120)], [(None, 0), (60, 90), (120, None)]),
        (0, 120, [(0, 60), (90, 120)], [(60, 90)]),
        (-5, 119, [(0, 60)], [(-5, 0), (60, 119)]),
        (1, 60, [(30, 60)], [(1, 30)]),
        (1, 59, [], [(1, 59)]),
        (130, 200, [], [(130, 200)]),
    ],
)
def test_each_moment_is_in_one_part(
    engine: Engine,
    since: int | None,
    until: int | None,
    rolled_up: list[tuple[int, int]],
    others: list[tuple[int | None, int | None]],
) -> None:
    """Minutes: a period counts only as a whole, and the edges are read email by email."""
    with reading(engine) as connection:
        found = read_coverage(connection, TimeRange(since=_at(since), until=_at(until)))
    assert [(span.since, span.until) for span in found.rolled_up] == [(_at(a), _at(b)) for a, b in rolled_up]
    assert [(span.since, span.until) for span in found.others] == [(_at(a), _at(b)) for a, b in others]


def _at(minutes: int | None) -> datetime | None:
    return None if minutes is None else START + minutes * MINUTE


def test_periods_begin_at_half_hours() -> None:
    """Whatever the minute."""
    assert period_start(START + 29 * MINUTE) == START
    assert period_start(START + 30 * MINUTE) == START + PERIOD
