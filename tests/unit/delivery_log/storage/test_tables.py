"""Column types: times are aware and in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy.dialects import postgresql, sqlite

from mailctl.delivery_log.storage.tables import emails, events
from mailctl.delivery_log.storage.utc_time import UtcDateTime

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMN = UtcDateTime()


def test_a_naive_time_is_refused() -> None:
    """Nobody knows which one it is."""
    with pytest.raises(ValueError, match="naive"):
        COLUMN.process_bind_param(datetime(2026, 3, 1), sqlite.dialect())  # noqa: DTZ001


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()])
def test_a_time_comes_back_as_it_was_in_utc(dialect: sqlite.dialect) -> None:
    """SQLite stores no time zone, PostgreSQL may return another."""
    there = NOON.astimezone(timezone(timedelta(hours=5)))
    assert COLUMN.process_result_value(COLUMN.process_bind_param(there, dialect), dialect) == NOON
    assert COLUMN.process_result_value(there, dialect) == NOON
    assert COLUMN.process_bind_param(None, dialect) is None
    assert COLUMN.process_result_value(None, dialect) is None


def test_what_statements_compare_has_columns() -> None:
    """The reasons, the stages, and the facts that texts once carried."""
    assert {"reason_code", "maybe_sent", "resent_as", "captured_file", "canary_report"} <= {*emails.c.keys()}
    assert {"reason_code", "stage"} <= {*events.c.keys()}
