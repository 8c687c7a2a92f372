"""The delivery log's schema: made when missing, upgraded by one at a time, refused when it is not ours."""

from __future__ import annotations

import stat
import subprocess
import sys
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from mailctl.delivery_log.own_task_emails import OwnTaskEmails
from mailctl.delivery_log.queries.lookups import EmailLookups
from mailctl.delivery_log.storage.engine import open_engine, reading, writing
from mailctl.delivery_log.storage.partial_indices import add_partial_indices
from mailctl.delivery_log.storage.schema_version import (
    HEAD,
    VERSION_TABLE,
    ensure_current,
    read_version,
    upgrade,
)
from mailctl.delivery_log.storage.tables import emails, metadata
from mailctl.delivery_log.storage.urls import is_same_database, parse_url
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.errors import ConfigurationError, LogUnavailable
from tests.integration.older_logs import MIGRATIONS, migrate
from tests.servers import PostgresServer, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine


@pytest.fixture(params=["sqlite", "postgresql"])
def log_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a delivery log that is not there yet."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'home' / 'mailctl.db'}"


@pytest.fixture
def opened(log_url: str) -> Iterator[Callable[[], Engine]]:
    """Opens the log, as often as a test likes."""
    engines: list[Engine] = []

    def open_one() -> Engine:
        engines.append(open_engine(parse_url(log_url, setting="X"), setting="X"))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.dispose()


@pytest.fixture
def engine(opened: Callable[[], Engine]) -> Engine:
    return opened()


def set_version(engine: Engine, version: str) -> None:
    with writing(engine) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = :version"), {"version": version})


def test_a_missing_schema_is_made(engine: Engine) -> None:
    """At the newest version, with every table."""
    ensure_current(engine)
    assert read_version(engine).is_current
    with reading(engine) as connection:
        assert {*metadata.tables, VERSION_TABLE} <= {*inspect(connection).get_table_names()}


def describe(engine: Engine) -> dict[str, set[object]]:
    """Return the columns, constraints, indices, triggers and functions of a database, in no order."""
    queries = ON_POSTGRESQL if engine.dialect.name == "postgresql" else ON_SQLITE
    with engine.connect() as connection:
        return {
            name: {tuple(row) for row in connection.execute(text(query))} for name, query in queries.items()
        }


#: What a database in PostgreSQL holds of the delivery log.
ON_POSTGRESQL = {
    "columns": """SELECT table_name, column_name, column_default, is_nullable, data_type, is_identity,
        character_maximum_length FROM information_schema.columns WHERE table_schema = 'public'""",
    "indices": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "constraints": """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace""",
    "triggers": "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "functions": "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "sequences": "SELECT sequencename, data_type::text FROM pg_sequences WHERE schemaname = 'public'",
}
#: The same of SQLite. The text of a table is that of its making and of all its changes: it is not compared.
ON_SQLITE = {
    "columns": """SELECT t.name, c.name, c.type, c."notnull", c.dflt_value, c.pk
        FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'""",
    "keys": """SELECT name, sql LIKE '%AUTOINCREMENT%', sql LIKE '%CHECK%', sql LIKE '%REFERENCES%'
        FROM sqlite_master WHERE type = 'table'""",
    "uniqueness": """SELECT t.name, i.name, i."unique", i.origin, i.partial, c.seqno, c.name
        FROM sqlite_master t, pragma_index_list(t.name) i, pragma_index_info(i.name) c
        WHERE t.type = 'table'""",
    "statements": "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type <> 'table'",
}


@pytest.fixture
def migrated(request: pytest.FixtureRequest, log_url: str, tmp_path: Path) -> Iterator[Engine]:
    """A log that the migrations have made, from the first to the last."""
    url = f"sqlite:///{tmp_path / 'migrated.db'}"
    server: PostgresServer | None = None
    if log_url.startswith("postgresql"):
        server = request.getfixturevalue("postgres_server")
        url = server.make_database()
    engine = open_engine(parse_url(url, setting="X"), setting="X")
    migrate(engine, "head")
    yield engine
    engine.dispose()
    if server is not None:
        server.drop_database(url)


def test_what_an_earlier_version_has_published_others_may_take(engine: Engine, tmp_path: Path) -> None:
    """It did not record which messages carry the whole email; nothing proves that one of them is lost."""
    (tmp_path / "home").mkdir()
    migrate(engine, "0024")
    at = datetime.now(UTC)
    with writing(engine) as connection:
        for number, more in enumerate(({}, {"queued_in": "w1"}, {"is_own_task": True}, {"campaign": "c"})):
            row = {
                "id": f"e{number}",
                "kind": "welcome",
                "state": "queued",
                "queue": "celery",
                "to_address": "x",
            }
            times = dict.fromkeys(("created_at", "updated_at", "due_at", "queued_at"), at)
            connection.execute(emails.insert().values({**row, **times, **more}))
    migrate(engine, "head")
    log = OwnTaskEmails(engine)
    assert [email.id for email in log.published_in_full(limit=9)] == ["e0"]
    assert log.queues_of_other_workers(since=at - timedelta(seconds=1)) == {"celery"}
    [event] = EmailLookups(engine).events("e0")
    assert (event.at, event.state, event.reason_code) == (at, State.QUEUED, ReasonCode.OTHER_WORKER)


def test_a_new_log_is_what_the_migrations_make(engine: Engine, migrated: Engine) -> None:
    """It is created at once: columns, constraints, indices and triggers do not differ, and it has an id."""
    ensure_current(engine)
    new, old = describe(engine), describe(migrated)
    assert new == old
    assert all(new.values())
    for each in (engine, migrated):
        with reading(each) as connection:
            filled = {
                name
                for name in {*inspect(connection).get_table_names()} - {"sqlite_sequence"}
                if connection.execute(text(f"SELECT count(*) FROM {name}")).scalar()
            }
            assert filled == {VERSION_TABLE, "mailctl_log"}
            assert len(str(connection.execute(text("SELECT id FROM mailctl_log")).scalar_one())) == 32


def test_the_migrations_make_what_the_code_expects(migrated: Engine) -> None:
    """Tables, columns, types and indexes: nothing is left for a migration to do."""
    engine = migrated
    add_partial_indices()
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"compare_type": True, "compare_server_default": True, "version_table": VERSION_TABLE},
        )
        assert compare_metadata(context, metadata) == []


def test_head_is_the_newest_migration() -> None:
    """A constant, so that asking for the version needs no Alembic."""
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert scripts.get_heads() == [HEAD]


def test_doing_it_again_changes_nothing(engine: Engine) -> None:
    """Every command does."""
    ensure_current(engine)
    with writing(engine) as connection:
        connection.execute(metadata.tables["mailctl_users"].insert().values(email="a@example.com"))
    ensure_current(engine)
    upgrade(engine)
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM mailctl_users")).scalar() == 1


def test_an_empty_database_has_no_version(engine: Engine, log_url: str) -> None:
    """Asking does not make one."""
    if log_url.startswith("sqlite"):
        Path(str(engine.url.database)).parent.mkdir()
    assert read_version(engine).current is None
    with reading(engine) as connection:
        assert inspect(connection).get_table_names() == []


@pytest.mark.parametrize("version", ["9999", "0000"])
def test_a_schema_of_another_version_is_refused(engine: Engine, version: str) -> None:
    """Newer or unknown: the error names both versions, and nothing is touched."""
    ensure_current(engine)
    set_version(engine, version)
    with pytest.raises(ConfigurationError, match=f"has schema {version}, but this mailctl needs {HEAD}"):
        ensure_current(engine)
    assert read_version(engine).current == version


def test_a_failed_migration_leaves_nothing_behind(engine: Engine) -> None:
    """It runs in one transaction: a table that is in the way undoes those made before it."""
    if engine.dialect.name == "sqlite":
        Path(str(engine.url.database)).parent.mkdir()
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE mailctl_workers (other INTEGER)"))
    with pytest.raises(LogUnavailable):
        ensure_current(engine)
    with reading(engine) as connection:
        assert inspect(connection).get_table_names() == ["mailctl_workers"]


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """Addresses and links stand in it; its companions take after it."""
    path = tmp_path / "home" / "mailctl.db"
    engine = open_engine(parse_url(f"sqlite:///{path}", setting="X"), setting="X")
    ensure_current(engine)
    with reading(engine) as connection:
        connection.execute(text("SELECT 1"))
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    engine.dispose()
    assert modes == {"mailctl.db": 0o600, "mailctl.db-shm": 0o600, "mailctl.db-wal": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_folder_that_was_there_is_left_as_it_is(tmp_path: Path) -> None:
    """Its owner decided who may enter."""
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o755)
    engine = open_engine(parse_url(f"sqlite:///{folder / 'mailctl.db'}", setting="X"), setting="X")
    ensure_current(engine)
    engine.dispose()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """With the setting that moves it."""
    (tmp_path / "file").write_text("in the way")
    engine = open_engine(parse_url(f"sqlite:///{tmp_path / 'file' / 'mailctl.db'}", setting="X"), setting="X")
    with pytest.raises(LogUnavailable, match="cannot be created") as caught:
        ensure_current(engine)
    assert "MAILCTL_HOME" in caught.value.fix


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    """Within seconds."""
    url = parse_url(f"postgresql://user:hunter2@127.0.0.1:{free_port()}/log", setting="X")
    engine = open_engine(url, setting="X")
    with pytest.raises(LogUnavailable, match=r"user:\*\*\*@127\.0\.0\.1") as caught:
        read_version(engine)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("sqlite+aiosqlite:///x.db", "sqlite"),
        ("postgres://h/x", "postgresql+psycopg"),
        ("postgresql+asyncpg://h/x", "postgresql+psycopg"),
        ("mysql+aiomysql://h/x", "mysql+pymysql"),
    ],
)
def test_async_drivers_are_replaced(given: str, driver: str) -> None:
    """The address is the web service's; mailctl's own calls are synchronous."""
    assert parse_url(given, setting="X").drivername == driver


def test_options_of_asyncpg_become_those_of_libpq() -> None:
    """`ssl=require` is `sslmode=require`; what only the asyncpg dialect knows is dropped."""
    url = parse_url(
        "postgresql+asyncpg://h/x?ssl=require&prepared_statement_cache_size=0&application_name=a", setting="X"
    )
    assert dict(url.query) == {"sslmode": "require", "application_name": "a"}


def test_an_option_that_only_the_driver_can_judge_is_refused_without_its_value(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a driver raises for it is no error of the database's."""
    engine = open_engine(parse_url(postgres_url, setting="X"), setting="X")

    def refuse(*_: object) -> None:
        raise TypeError("connect() got an unexpected value 'hunter2'")

    monkeypatch.setattr(psycopg.Connection, "connect", refuse)
    with pytest.raises(ConfigurationError, match="X has an option that its driver does not accept") as caught:
        read_version(engine)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("postgresql+asyncpg://a:x@localhost/db", "postgres://b@localhost:5432/db", True),
        ("postgresql:///db", "postgresql://localhost/db", True),
        ("postgresql://localhost/db", "postgresql://localhost/other", False),
        ("postgresql://localhost/db", "postgresql://localhost:5433/db", False),
        ("sqlite+aiosqlite:///x.db", "sqlite:///./x.db", True),
        ("sqlite:///x.db", "sqlite:///y.db", False),
        ("sqlite:///db", "postgresql://localhost/db", False),
    ],
)
def test_one_database_has_several_addresses(one: str, other: str, expected: bool) -> None:
    """Drivers, users and what goes without saying do not tell two databases apart."""
    assert is_same_database(parse_url(one, setting="X"), parse_url(other, setting="X")) is expected


def test_a_reader_cannot_write(postgres_url: str) -> None:
    """A database that is somebody else's is opened for reading only."""
    engine = open_engine(parse_url(postgres_url, setting="X"), setting="X", read_only=True)
    with engine.connect() as connection, pytest.raises(sqlalchemy.exc.InternalError, match="read-only"):
        connection.execute(text("CREATE TABLE x (y INTEGER)"))
    engine.dispose()


@pytest.mark.parametrize("own_level", [False, True])
def test_a_service_s_log_has_no_lines_of_alembic(tmp_path: Path, own_level: bool) -> None:
    """Of upgrading the delivery log; what the service's own migrations log afterwards is there."""
    more = "logging.getLogger('alembic.runtime.migration').setLevel(logging.INFO)" if own_level else ""
    code = f"""
import logging
logging.basicConfig(level=logging.INFO)
{more}
from mailctl.operations.maintenance import upgrade_schema
from mailctl.settings import Settings
assert upgrade_schema(Settings.load()).current == "0021"
logging.getLogger("alembic.runtime.migration").info("of the service")
"""
    home = tmp_path / "home"
    home.mkdir()
    engine = open_engine(parse_url(f"sqlite:///{home / 'mailctl.db'}", setting="X"), setting="X")
    migrate(engine, "0021")
    engine.dispose()
    environment = {"MAILCTL_HOME": str(home), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines() == ["INFO:alembic.runtime.migration:of the service"]
