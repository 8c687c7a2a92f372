"""SQL functions: the same values from SQLite as from Python."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import literal, select
from sqlalchemy.dialects import postgresql

from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.sql_functions import Domain, Epoch, Hour
from mailctl.delivery_log.storage.utc_time import UtcDateTime

if TYPE_CHECKING:
    from sqlalchemy import Engine

AT = datetime(2026, 3, 1, 12, 34, 56, tzinfo=UTC)


def test_sqlite_computes_what_python_does(engine: Engine) -> None:
    """Seconds since 1970, the hour in UTC, and a domain."""
    at = literal(AT, UtcDateTime)
    with reading(engine) as connection:
        query = select(Epoch(at), Hour(at), Domain(literal("zoe@example.com")))
        epoch, hour, domain = connection.execute(query).one()
    assert epoch == pytest.approx(AT.timestamp(), abs=0.001)
    assert (hour, domain) == ("2026-03-01T12:00Z", "example.com")


def test_postgresql_has_its_own_functions() -> None:
    """Under other names."""
    assert "strpos" in str(select(Domain(literal("a@b"))).compile(dialect=postgresql.dialect()))
