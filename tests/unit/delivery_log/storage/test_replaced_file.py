"""A file of SQLite that was replaced or deleted is noticed by whoever has it open."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.storage.change_detector import ChangeDetector
from mailctl.delivery_log.storage.engine import open_engine, reading, writing
from mailctl.delivery_log.storage.urls import sqlite_url
from mailctl.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine


def make(path: Path, content: str) -> Path:
    """Make a database with one row."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (content TEXT)")
        connection.execute("INSERT INTO t VALUES (?)", [content])
    return path


def content_of(engine: Engine) -> str:
    """Return the row that an engine reads."""
    with reading(engine) as connection:
        return str(connection.exec_driver_sql("SELECT content FROM t").scalar_one())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database."""
    return make(tmp_path / "log.db", "old")


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    """An engine that has the database open."""
    engine = open_engine(sqlite_url(path), setting="test")
    assert content_of(engine) == "old"
    yield engine
    engine.dispose()


def delete(path: Path) -> None:
    """Delete a database with the files beside it."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def test_a_replaced_file_is_used_from_then_on(
    engine: Engine, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so, once."""
    other = make(path.with_name("other.db"), "new")
    delete(path)
    other.replace(path)
    with caplog.at_level(logging.ERROR):
        assert content_of(engine) == "new"
        with writing(engine) as connection:
            connection.exec_driver_sql("UPDATE t SET content = 'newer'")
    assert content_of(engine) == "newer"
    [message] = caplog.messages
    assert message.endswith("was replaced by another file, which is used from now on")


def test_a_deleted_file_is_not_created_again(engine: Engine, path: Path) -> None:
    """An empty log in its place would hide the loss; a restored one is used."""
    backup = path.with_name("backup")
    backup.write_bytes(path.read_bytes())
    delete(path)
    for use in (reading, writing):
        with pytest.raises(LogUnavailable, match="deleted while it was in use"), use(engine):
            raise AssertionError("there is nothing to use")
    assert not path.exists()
    backup.replace(path)
    assert content_of(engine) == "old"


def test_a_replaced_file_counts_as_a_change(engine: Engine, path: Path) -> None:
    """A relay then asks the log."""
    with closing(ChangeDetector(engine)) as detector:
        detector.mark_seen()
        assert not detector.may_have_changed()
        other = make(path.with_name("other.db"), "new")
        delete(path)
        other.replace(path)
        detector.mark_seen()
        with writing(engine) as connection:
            connection.exec_driver_sql("UPDATE t SET content = 'newer'")
        assert detector.has_changed()
