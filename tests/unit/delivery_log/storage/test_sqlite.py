"""SQLite engines: who waits for a lock, what is flushed, and which files a reader leaves behind."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import ExitStack, closing
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from mailctl.delivery_log.storage import sqlite
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.sqlite import (
    READ_ONLY,
    checkpoint,
    enlarge_page_cache,
    flush,
    is_absent,
    open_empty,
    open_external_reader,
    open_log_reader,
    open_writer,
    sqlite_path,
)
from mailctl.delivery_log.storage.urls import sqlite_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL

    Disposing = Callable[[Engine], Engine]


@pytest.fixture
def url(tmp_path: Path) -> URL:
    """The URL of a database that does not exist yet."""
    return sqlite_url(tmp_path / "mailctl.db")


@pytest.fixture
def disposing() -> Iterator[Disposing]:
    """Returns an engine as it is, and disposes of it after the test."""
    with ExitStack() as engines:

        def dispose_later(engine: Engine) -> Engine:
            engines.callback(engine.dispose)
            return engine

        yield dispose_later


@pytest.fixture
def writer(url: URL, disposing: Disposing) -> Engine:
    """An engine that writes, on a database with one table."""
    engine = disposing(open_writer(url))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE numbers (number INTEGER)"))
    return engine


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers give up at once."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_SECONDS", 0)


def replace_sleep(monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None]) -> None:
    """Let the module, and nobody else in this process, pause in another way."""
    monkeypatch.setattr(sqlite, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))


def add(connection: Connection, number: int = 1) -> None:
    """Insert a row."""
    connection.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": number})


def numbers(engine: Engine) -> list[int]:
    """Return all rows."""
    with engine.begin() as connection:
        return list(connection.execute(text("SELECT number FROM numbers")).scalars())


def files(folder: Path) -> list[str]:
    """Return the names of the files of a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("foreign_keys", 1), ("secure_delete", 1), ("wal_autocheckpoint", 0)],
)
def test_a_writer_is_configured(pragma: str, value: object, writer: Engine) -> None:
    """Readers never wait, deleted content is overwritten, and no writer waits for a checkpoint."""
    with writer.begin() as connection:
        assert connection.execute(text(f"PRAGMA {pragma}")).scalar() == value


@pytest.mark.usefixtures("no_patience")
def test_a_writer_takes_the_lock_at_the_beginning(writer: Engine) -> None:
    """Not with its first change, when it could no longer wait."""
    with writer.begin(), pytest.raises(OperationalError, match="locked"), writer.begin():
        pass
    assert numbers(writer) == []


@pytest.mark.usefixtures("no_patience")
def test_a_transaction_that_only_reads_waits_for_nobody(writer: Engine) -> None:
    """It sees what was committed when it began."""
    reader = writer.execution_options(**{READ_ONLY: True})
    with writer.begin() as writing, reader.begin() as reading:
        add(writing)
        assert reading.execute(text("SELECT count(*) FROM numbers")).scalar() == 0


def test_threads_of_a_process_write_in_turn(writer: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """None tries for the lock of the database again and again."""
    pauses: list[float] = []
    replace_sleep(monkeypatch, pauses.append)
    begins = threading.Barrier(4)

    def write() -> None:
        begins.wait(60)
        for number in range(20):
            with writing(writer) as connection:
                add(connection, number)
                time.sleep(0.0005)  # the others can run meanwhile

    threads = [threading.Thread(target=write) for _ in range(begins.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert pauses == []
    assert len(numbers(writer)) == 80


def test_a_writer_waits_for_the_lock(writer: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the other has ended, and not for its whole patience."""
    other = sqlite3.connect(sqlite_path(writer.url), isolation_level=None)
    pauses: list[float] = []

    def end_the_other(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            other.execute("COMMIT")

    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        replace_sleep(monkeypatch, end_the_other)
        with writer.begin() as connection:
            add(connection)
    assert (len(pauses), numbers(writer)) == (3, [1])


def test_an_error_that_is_no_lock_is_raised_at_once(
    url: URL, writer: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Waiting would not help."""

    def fail(_: float) -> None:
        raise AssertionError("it waits")

    writer.dispose()
    (tmp_path / "mailctl.db-wal").mkdir()
    replace_sleep(monkeypatch, fail)
    with pytest.raises(OperationalError, match="unable to open"), writer.connect():
        pass


@pytest.mark.usefixtures("no_patience")
def test_a_locked_log_is_not_read(url: URL, disposing: Disposing) -> None:
    """What is being written would be read in part."""
    with closing(sqlite3.connect(sqlite_path(url), isolation_level=None)) as other:
        other.execute("CREATE TABLE numbers (number INTEGER)")
        other.execute("BEGIN EXCLUSIVE")
        reader = disposing(open_log_reader(url))
        with pytest.raises(OperationalError, match="locked"), reader.connect():
            pass


def test_a_reader_of_the_log_sees_what_is_written_meanwhile(
    url: URL, writer: Engine, disposing: Disposing
) -> None:
    """Also what is only in the write-ahead log."""
    reader = disposing(open_log_reader(url))
    assert numbers(reader) == []
    with writer.begin() as connection:
        add(connection)
    assert numbers(reader) == [1]


def test_a_reader_of_the_log_leaves_no_file_behind(
    url: URL, writer: Engine, tmp_path: Path, disposing: Disposing
) -> None:
    """And cannot write."""
    writer.dispose()
    assert files(tmp_path) == ["mailctl.db"]
    reader = disposing(open_log_reader(url))
    assert numbers(reader) == []
    with pytest.raises(OperationalError, match="readonly"), reader.begin() as connection:
        add(connection)
    reader.dispose()
    assert files(tmp_path) == ["mailctl.db"]


def test_a_reader_of_a_missing_log_creates_none(url: URL, tmp_path: Path, disposing: Disposing) -> None:
    """Neither of the log nor of another program's database."""
    for engine in map(disposing, (open_log_reader(url), open_external_reader(url))):
        with pytest.raises(OperationalError, match="unable to open"), engine.connect():
            pass
    assert files(tmp_path) == []


@pytest.mark.parametrize("is_open", [False, True])
def test_a_reader_that_may_create_no_file_reads_a_log_that_nobody_has_open(
    is_open: bool, url: URL, writer: Engine, tmp_path: Path, disposing: Disposing
) -> None:
    """Where somebody has it open, its latest rows are in a file that only others can use: an error then."""
    with writer.begin() as connection:
        add(connection)
    writer.dispose()
    # A link into a missing folder, or a folder, is no file that SQLite can create or open.
    log = tmp_path / "mailctl.db-wal"
    log.mkdir() if is_open else log.symlink_to(tmp_path / "missing" / "file")
    reader = disposing(open_log_reader(url))
    if is_open:
        with pytest.raises(OperationalError, match="unable to open"):
            numbers(reader)
    else:
        assert numbers(reader) == [1]


@pytest.mark.usefixtures("writer")
def test_an_external_reader_does_not_write(url: URL, disposing: Disposing) -> None:
    """It reads the database of another program as that has left it."""
    reader = disposing(open_external_reader(url))
    with reader.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM numbers")).scalar() == 0
        with pytest.raises(OperationalError, match="readonly"):
            add(connection)


def test_an_empty_database_has_its_tables_and_takes_no_rows(disposing: Disposing) -> None:
    """Each connection has one of its own, in memory."""
    engine = disposing(open_empty(["CREATE TABLE numbers (number INTEGER)"]))
    assert numbers(engine) == []
    with pytest.raises(OperationalError, match="readonly"), engine.begin() as connection:
        add(connection)


def test_a_url_names_a_file(tmp_path: Path) -> None:
    """Relative to the current folder, with or without `file:`."""
    path = tmp_path / "mailctl.db"
    url = sqlite_url(path)
    assert sqlite_path(url) == sqlite_path(url.set(database=f"file:{path}")) == path
    assert is_absent(url)
    assert not is_absent(url.set(drivername="postgresql"))
    path.touch()
    assert not is_absent(url)


@pytest.mark.parametrize("is_large", [False, True])
def test_a_large_write_ahead_log_is_copied_into_the_file(
    is_large: bool, writer: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small one is left alone, because the copy takes the disk's time."""
    main = tmp_path / "mailctl.db"
    before = main.stat().st_size
    monkeypatch.setattr(sqlite, "_MAX_WAL_BYTES", 1 if is_large else 10**6)
    checkpoint(writer)
    flush(writer)
    assert (main.stat().st_size > before) is is_large


@pytest.mark.parametrize("is_read", [False, True])
def test_a_huge_write_ahead_log_gives_its_space_back(
    is_read: bool, writer: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as nobody reads what it has; until then the writer goes on, without waiting."""
    wal = tmp_path / "mailctl.db-wal"
    monkeypatch.setattr(sqlite, "_MAX_WAL_BYTES", 1)
    monkeypatch.setattr(sqlite, "_TRUNCATED_WAL_BYTES", 1)
    with writer.connect().execution_options(**{READ_ONLY: True}) as reader:
        if is_read:
            reader.execute(text("SELECT count(*) FROM sqlite_master")).one()
            with writer.begin() as connection:
                add(connection)
        checkpoint(writer)
        assert (wal.stat().st_size > 0) is is_read
    checkpoint(writer)
    assert not wal.stat().st_size
    with writer.connect() as connection:
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 10_000


def test_a_log_that_is_in_the_main_file_needs_no_flush(writer: Engine) -> None:
    """There is no write-ahead log."""
    writer.dispose()
    flush(writer)
    checkpoint(writer)


def test_a_large_insert_gets_a_large_cache(writer: Engine) -> None:
    """In KiB, which SQLite counts as negative pages."""
    with writer.begin() as connection:
        enlarge_page_cache(connection)
        assert connection.execute(text("PRAGMA cache_size")).scalar() == -16_384
