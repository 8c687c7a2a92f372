"""Whose time a delivery log has; the clock of a server is in test_clock.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import create_engine

from mailctl.delivery_log.storage.clock import HostClock, ServerClock
from mailctl.delivery_log.storage.engine_clock import clock_of, compare_clock_on

if TYPE_CHECKING:
    from pathlib import Path


def test_a_log_in_a_file_has_the_time_of_this_host(tmp_path: Path) -> None:
    """Which is not compared with anything."""
    engine = create_engine(f"sqlite:///{tmp_path / 'log.sqlite'}")
    with engine.connect() as connection:
        compare_clock_on(connection, engine)
    assert isinstance(clock_of(engine), HostClock)
    engine.dispose()


def test_all_parts_of_a_process_share_one_clock_of_a_server() -> None:
    """Otherwise each would ask the server."""
    engine = create_engine("postgresql+psycopg://localhost/log")
    assert isinstance(clock_of(engine), ServerClock)
    assert clock_of(engine) is clock_of(engine)
