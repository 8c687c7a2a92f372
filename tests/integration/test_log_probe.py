"""Probes of a delivery log on a server: whether it can be written and created."""

from __future__ import annotations

from sqlalchemy import func, select

from mailctl.delivery_log.opening import check_creatable
from mailctl.delivery_log.storage.engine import open_engine, reading
from mailctl.delivery_log.storage.schema_version import ensure_current
from mailctl.delivery_log.storage.tables import emails, events
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.delivery_log.write_probe import check_writable
from mailctl.settings import Settings


def test_a_log_on_a_server_is_left_without_a_row(postgres_url: str) -> None:
    """Neither an email nor an event."""
    url = parse_url(postgres_url, setting="X")
    engine = open_engine(url, setting="X")
    ensure_current(engine)
    check_writable(url)
    with reading(engine) as connection:
        for table in (emails, events):
            assert connection.execute(select(func.count()).select_from(table)).scalar() == 0
    engine.dispose()


def test_a_log_on_a_server_can_be_created(postgres_url: str) -> None:
    """That is tried, and nothing is created."""
    check_creatable(Settings(mailctl_database_url=postgres_url))  # type: ignore[arg-type]
    engine = open_engine(parse_url(postgres_url, setting="X"), setting="X")
    with reading(engine) as connection:
        assert (
            connection.exec_driver_sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").scalar()
            == 0
        )
    engine.dispose()
