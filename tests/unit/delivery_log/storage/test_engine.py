"""Engines: URLs as people may read them, durability, and errors as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, text
from sqlalchemy.engine import make_url

from mailctl.delivery_log.storage import sqlite
from mailctl.delivery_log.storage.engine import (
    flush,
    mask_url,
    open_engine,
    parse_url,
    reading,
    sqlite_url,
    writing,
)
from mailctl.delivery_log.storage.tables import users
from mailctl.errors import ConfigurationError, LogUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter2@host/db",
        "postgresql://user@host/db?password=hunter2",
        "postgresql://user@host/db?sslpassword=hunter2",
    ],
)
def test_a_masked_url_has_no_secret(url: str) -> None:
    """Wherever it stands."""
    masked = mask_url(make_url(url))
    assert "hunter2" not in masked
    assert "host/db" in masked


def test_what_is_no_url_is_refused_with_its_setting() -> None:
    """The user has to know which one to correct."""
    with pytest.raises(ConfigurationError, match="MAILCTL_DATABASE_URL"):
        parse_url("no url", setting="MAILCTL_DATABASE_URL")


def test_a_file_of_any_name_has_a_url(tmp_path: Path) -> None:
    """Also with characters that separate the parts of one."""
    path = tmp_path / "a?b#c%d.db"
    assert sqlite.sqlite_path(sqlite_url(path)) == path
    assert sqlite.is_absent(sqlite_url(path))


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
