"""Engines: durability, and errors as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, text

from mailctl.delivery_log.storage.engine import flush, open_engine, reading, writing
from mailctl.delivery_log.storage.tables import users
from mailctl.delivery_log.storage.urls import sqlite_url
from mailctl.errors import LogUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine


@pytest.mark.parametrize(("durable", "mode"), [(True, 2), (False, 1)])
def test_a_durable_transaction_is_flushed(engine: Engine, durable: bool, mode: int) -> None:
    """FULL is 2, NORMAL is 1; a connection is switched each time."""
    with writing(engine, durable=not durable):
        pass
    with writing(engine, durable=durable) as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == mode
    flush(engine)


def test_an_error_undoes_the_transaction(engine: Engine) -> None:
    """And becomes one sentence that names the database."""
    row = {"email": "a", "username": "", "first_name": ""}
    with pytest.raises(LogUnavailable, match=r"mailctl\.db cannot be used"), writing(engine) as connection:
        # The second statement has the same address.
        connection.execute(insert(users), [row, row])
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM mailctl_users")).scalar() == 0


def test_a_reader_of_another_program_s_database_creates_none(tmp_path: Path) -> None:
    """Nor does it write to one."""
    engine = open_engine(sqlite_url(tmp_path / "theirs.db"), setting="X", read_only=True)
    with pytest.raises(LogUnavailable), reading(engine) as connection:
        connection.execute(text("SELECT 1"))
    assert not (tmp_path / "theirs.db").exists()
