"""The probe of the delivery log: it writes, it leaves nothing, and it says why it could not."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import emails
from mailctl.delivery_log.write_probe import check_writable, sample_readability
from mailctl.errors import LogUnavailable
from mailctl.security.keyring import Keyring
from tests.unit.delivery_log.conftest import KEYRING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.delivery_log.conftest import Log


def test_a_log_in_a_file_is_left_to_the_last_byte(log: Log, tmp_path: Path) -> None:
    """With no other file beside it."""
    log.engine.dispose()
    file = tmp_path / "mailctl.db"
    files, before = sorted(tmp_path.iterdir()), hashlib.sha256(file.read_bytes()).digest()
    check_writable(log.engine.url)
    assert sorted(tmp_path.iterdir()) == files
    assert hashlib.sha256(file.read_bytes()).digest() == before


def test_it_writes_before_it_is_undone(log: Log, tmp_path: Path) -> None:
    """The write-ahead log grows: the disk has taken it."""
    with closing(log.engine.connect()):
        wal = tmp_path / "mailctl.db-wal"
        before = wal.stat().st_size if wal.exists() else 0
        check_writable(log.engine.url)
        assert wal.stat().st_size >= before + 100_000


def test_a_log_that_takes_no_more_pages_is_full(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of the attempt; the fix is to free space."""

    def limit(path: str, **options: object) -> sqlite3.Connection:
        connection = connect(path, **options)  # type: ignore[arg-type]
        connection.execute("PRAGMA max_page_count = 1")  # SQLite raises this to the pages that there are
        return connection

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3.dbapi2, "connect", limit)
    monkeypatch.setattr(sqlite3, "connect", limit)
    with pytest.raises(LogUnavailable, match=r"Nothing can be recorded: .* is full") as caught:
        check_writable(log.engine.url)
    assert caught.value.fix == "Free space on that disk."


def test_a_locked_log_says_so(log: Log, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The program that holds the lock is to be found."""
    monkeypatch.setattr("mailctl.delivery_log.storage.sqlite.BUSY_TIMEOUT_SECONDS", 0)
    with closing(sqlite3.connect(tmp_path / "mailctl.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogUnavailable, match="database is locked") as caught:
            check_writable(log.engine.url)
    assert "holds a lock" in caught.value.fix


def test_emails_that_wait_are_decrypted(log: Log) -> None:
    """Those of another key are counted; what has ended needs no key."""
    assert sample_readability(log.engine, KEYRING).checked == 0
    log.add()
    log.queue(address="ada@example.com")
    assert (
        sample_readability(log.engine, KEYRING).checked,
        sample_readability(log.engine, KEYRING).unreadable,
    ) == (
        2,
        0,
    )
    assert sample_readability(log.engine, Keyring(["another-secret-key"])).unreadable == 2
    with writing(log.engine) as connection:
        connection.execute(emails.update().values(state="sent"))
    assert sample_readability(log.engine, KEYRING).checked == 0
