"""Transactions of Django: which one is joined, over a connection that Django keeps."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import ExitStack, closing
from datetime import datetime
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from mailctl.delivery_log.storage.engine import open_engine, writing
from mailctl.delivery_log.storage.tables import metadata, pauses
from mailctl.delivery_log.storage.urls import sqlite_url
from mailctl.enqueue import django_transaction
from mailctl.enqueue.django_transaction import open_transaction
from tests.emails import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

PAUSE = {"scope": "queue", "name": "celery", "reason": "", "actor": "ada", "since": NOW}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Engine]:
    """A delivery log in a SQLite file."""
    engine = open_engine(sqlite_url(tmp_path / "mailctl.db"), setting="X")
    with writing(engine) as connection:
        metadata.create_all(connection)
    yield engine
    engine.dispose()


class Django:
    """The modules of a process that has imported Django: its settings, and the connections of a thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._folder = folder
        self.open: list[Any] = []
        self._opened = ExitStack()
        self.conf = SimpleNamespace(configured=True, USE_TZ=True)
        database, conf = ModuleType("django.db"), ModuleType("django.conf")
        database.connections = SimpleNamespace(all=self._all)  # type: ignore[attr-defined]
        conf.settings = self.conf  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "django.db", database)
        monkeypatch.setitem(sys.modules, "django.conf", conf)

    def _all(self, *, initialized_only: bool) -> list[Any]:
        assert initialized_only
        return self.open

    def connect(
        self, alias: str, file: str, *, is_atomic: bool = True, vendor: str = "sqlite"
    ) -> sqlite3.Connection:
        """Open a connection, in a transaction or not."""
        path = self._folder / file
        connection = self._opened.enter_context(
            closing(sqlite3.connect(path, isolation_level=None, detect_types=sqlite3.PARSE_DECLTYPES))
        )
        settings = {"NAME": path, "HOST": "", "PORT": ""}
        self.open.append(
            SimpleNamespace(
                alias=alias,
                connection=connection,
                in_atomic_block=is_atomic,
                vendor=vendor,
                settings_dict=settings,
            )
        )
        return connection

    def close(self) -> None:
        """Close every connection that was opened, whatever became of it."""
        self._opened.close()


@pytest.fixture
def django(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Django]:
    """Django in this process."""
    with closing(Django(monkeypatch, tmp_path)) as made:
        yield made


def test_a_process_without_django_has_no_transaction(log: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of Django is imported for that."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "django"]:
        monkeypatch.delitem(sys.modules, name)
    assert open_transaction(log) is None
    assert "django" not in sys.modules


def test_django_without_settings_has_no_transaction(log: Engine, django: Django) -> None:
    """Asking for its connections would fail."""
    django.connect("default", "mailctl.db")
    django.conf.configured = False
    assert open_transaction(log) is None


def test_only_a_connection_in_a_transaction_counts(log: Engine, django: Django) -> None:
    """One that is closed has none."""
    django.connect("default", "mailctl.db", is_atomic=False)
    django.connect("other", "other.db").close()
    django.open[-1].connection = None
    assert open_transaction(log) is None


@pytest.mark.parametrize(
    ("aliases", "alias", "has_log"),
    [
        ({"default": "shop.db", "mail": "mailctl.db"}, "mail", True),
        ({"other": "other.db", "default": "shop.db"}, "default", False),
        ({"other": "other.db"}, "other", False),
    ],
)
def test_the_transaction_on_the_log_is_preferred(
    aliases: dict[str, str], alias: str, has_log: bool, log: Engine, django: Django
) -> None:
    """Then that on the default database."""
    for name, file in aliases.items():
        django.connect(name, file)
    found = open_transaction(log)
    assert found is not None
    assert (found.alias, found.has_log) == (alias, has_log)


@pytest.mark.parametrize("change", ["times without zone", "another driver", "another kind of database"])
def test_a_connection_that_cannot_record_emails_does_not_have_the_log(
    change: str, log: Engine, django: Django
) -> None:
    """The emails are recorded after its commit instead."""
    django.connect(
        "default", "mailctl.db", vendor="mysql" if change == "another kind of database" else "sqlite"
    )
    if change == "times without zone":
        django.conf.USE_TZ = False
    if change == "another driver":
        django.open[0].connection = object()
    found = open_transaction(log)
    assert found is not None
    assert not found.has_log


def test_a_borrowed_connection_leaves_commit_and_rollback_to_django(log: Engine, django: Django) -> None:
    """It stays open, too."""
    connection = django.connect("default", "mailctl.db")
    connection.execute("BEGIN")
    with django_transaction._borrow(connection, log).connect() as borrowed:
        borrowed.execute(pauses.insert().values(**PAUSE))
        borrowed.commit()
    assert connection.in_transaction
    connection.execute("ROLLBACK")
    with log.connect() as reader:
        assert reader.execute(select(pauses)).all() == []


def test_times_are_read_as_sqlalchemy_expects_them(log: Engine, django: Django) -> None:
    """Django has converters that make objects of columns that are declared as times."""
    sqlite3.register_converter("djangotime", lambda raw: datetime.fromisoformat(raw.decode()))
    connection = django.connect("default", "mailctl.db")
    connection.execute("CREATE TABLE times (at DJANGOTIME)")
    connection.executemany("INSERT INTO times VALUES (?)", [("2026-03-01 12:00:00",)] * 4)
    assert isinstance(connection.execute("SELECT at FROM times").fetchone()[0], datetime)
    cursor = django_transaction._BorrowedConnection(connection).cursor()
    cursor.execute("SELECT at FROM times")
    rows = [cursor.fetchone(), *cursor.fetchmany(2), *cursor.fetchall()]
    assert rows == [("2026-03-01 12:00:00",)] * 4
    assert cursor.fetchone() is None
