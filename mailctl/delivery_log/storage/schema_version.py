"""The version of the delivery log's schema: created if missing, upgraded on demand, refused if it differs."""

from __future__ import annotations

import logging
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import column, inspect, select, table, text

from mailctl.delivery_log.storage.engine import reading, translate_database_errors, writing
from mailctl.delivery_log.storage.partitions.conversion_state import discard_if_any
from mailctl.delivery_log.storage.sqlite import LINK_OF_STRANGER
from mailctl.domain.shell_command import mailctl_command
from mailctl.errors import ConfigurationError, LogUnavailable
from mailctl.process.per_process import PerProcess
from mailctl.settings.file_owners import is_link_of_stranger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

#: The newest migration; a test compares it with the files.
HEAD = "0025"
VERSION_TABLE = "mailctl_version"
_VERSION_TABLE_OF_ALEMBIC = "alembic_version"
_MIGRATIONS = Path(__file__).parent / "migrations"
#: An arbitrary number that other users of a PostgreSQL server are unlikely to lock.
_ADVISORY_LOCK = 6_245_285_001
_schema_locks: PerProcess[threading.Lock] = PerProcess()


@dataclass(frozen=True, kw_only=True)
class SchemaVersion:
    """The version of a schema, and the version with which this mailctl works."""

    current: str | None
    head: str = HEAD
    #: The days of a partition; None for a log without partitions, and where it was not asked.
    partition_days: int | None = None

    @property
    def is_current(self) -> bool:
        """Whether this mailctl works with the schema."""
        return self.current == self.head


def read_version(engine: Engine) -> SchemaVersion:
    """Return the version of the schema; its `current` is None in a database without tables of mailctl.

    Raises:
        LogUnavailable: the database cannot be reached.
    """
    with reading(engine) as connection:
        return SchemaVersion(current=_current(connection))


def has_service_migrations(engine: Engine) -> bool:
    """Whether Alembic keeps the version of another schema in this database, such as that of a service.

    Raises:
        LogUnavailable: the database cannot be reached.
    """
    with reading(engine) as connection:
        return inspect(connection).has_table(_VERSION_TABLE_OF_ALEMBIC)


def check_creation(engine: Engine) -> None:
    """Create a table on a database server and roll that back, so that nothing comes into being.

    Args:
        engine: one that writes, on a database server.

    Raises:
        LogUnavailable: this user may not create tables, the server accepts no writes, or it does not answer.
    """
    with translate_database_errors(engine.url), engine.connect() as connection:
        connection.execute(text(f"CREATE TABLE mailctl_probe_{uuid.uuid4().hex} (id integer)"))
        connection.rollback()


def ensure_current(engine: Engine) -> None:
    """Create the tables in an empty database, accept the current schema, and refuse any other.

    Raises:
        ConfigurationError: the schema is older or newer than this mailctl.
        LogUnavailable: the database cannot be reached or written.
    """
    _create_sqlite_file(engine)
    version = read_version(engine)
    if version.current is None:
        upgrade(engine)
    else:
        require_current_version(version)


def create_or_upgrade(engine: Engine) -> SchemaVersion:
    """Upgrade a schema that is missing or older; return the version that it had.

    Raises:
        ConfigurationError: the schema is newer than this mailctl.
        LogUnavailable: the database cannot be reached or written.
    """
    _create_sqlite_file(engine)
    version = read_version(engine)
    if version.current is not None and version.current > version.head:
        require_current_version(version)
    upgrade(engine)
    return version


def require_current_version(version: SchemaVersion) -> None:
    """Refuse a schema that this mailctl does not work with.

    Raises:
        ConfigurationError: the schema is older or newer.
    """
    if version.is_current:
        return
    is_older = version.current is not None and version.current < version.head
    fix = (
        f"Run: {mailctl_command('db', 'upgrade')}"
        if is_older
        else "Install the version of mailctl that upgraded it, or a newer one."
    )
    raise ConfigurationError(
        f"The delivery log has schema {version.current}, but this mailctl needs {version.head}.", fix=fix
    )


def upgrade(engine: Engine) -> None:
    """Create the newest schema, or migrate an older one; processes that do so at the same time wait.

    Raises:
        LogUnavailable: the database cannot be reached or written.
    """
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        current = _current(connection)
        if current == HEAD:
            return
        # What Alembic and the creation work with belongs to the whole process.
        with _schema_locks.get(threading.Lock), _without_progress_of_alembic():
            if current is None:
                _create_schema(connection)
            else:
                # Migrations do not change the copies.
                discard_if_any(connection)
                _run_migrations(connection)


def _create_schema(connection: Connection) -> None:
    # Imported here, because it is rarely needed.
    from mailctl.delivery_log.storage.new_schema import create_schema

    create_schema(connection, version=HEAD, version_table=VERSION_TABLE)


def _run_migrations(connection: Connection) -> None:
    # Imported here, because Alembic takes long to import and is rarely needed.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _without_progress_of_alembic() -> Iterator[None]:
    """Keep Alembic from logging each step: in a service's process, readers would take them for its own."""
    known = [name for name in logging.root.manager.loggerDict if name.startswith("alembic.")]
    loggers = [logging.getLogger(name) for name in ("alembic", *known)]
    levels = {logger: logger.level for logger in loggers if logger.level or logger.name == "alembic"}
    for logger in levels:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(select(column("version_num")).select_from(table(VERSION_TABLE))).scalar()
    return str(found) if found is not None else None


def _create_sqlite_file(engine: Engine) -> None:
    database = engine.url.database
    if engine.url.get_backend_name() != "sqlite" or not database or database == ":memory:":
        return
    path = Path(database)
    if is_link_of_stranger(path):
        raise LogUnavailable(
            f"the delivery log {path} is not used: {LINK_OF_STRANGER}.",
            fix="Set MAILCTL_HOME to a folder that only this user can write.",
        )
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)
    except OSError as error:
        raise LogUnavailable(
            f"the delivery log {path} cannot be created: {error.strerror}.",
            fix="Give this user write permission there, or set MAILCTL_HOME or MAILCTL_DATABASE_URL.",
        ) from error
