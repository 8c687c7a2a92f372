"""Opening the delivery log that the settings name, in one of the modes that there are."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.schema import CreateTable

from mailctl.command import quoted
from mailctl.delivery_log.discovery import homes_around
from mailctl.delivery_log.storage import sqlite
from mailctl.delivery_log.storage.access_mode import LogMode
from mailctl.delivery_log.storage.engine import (
    LateCreation,
    log_address,
    open_engine,
    open_log_reader,
    shown,
    sqlite_address,
)
from mailctl.delivery_log.storage.schema_version import ensure_current, read_version, refuse_other_version
from mailctl.delivery_log.storage.tables import metadata
from mailctl.errors import LogMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.engine import URL

    from mailctl.settings import Settings

SETTING = "MAILCTL_DATABASE_URL"
_DEFAULT_HOME = Path(".mailctl")
#: Logs nearby that are named at most.
_MOST_NEARBY = 3


def open_delivery_log(settings: Settings, mode: LogMode) -> Engine:
    """Return an engine on the delivery log, whose schema is current.

    Raises:
        ConfigurationError: its address is not usable, or its schema is older or newer than this mailctl.
        LogMissing: there is none, and the mode needs one.
        LogUnavailable: it cannot be reached, or not be created.
    """
    if mode is LogMode.CREATE:
        return _create(log_address(settings))
    try:
        reader = open_reader(settings)
    except LogMissing:
        if mode is LogMode.OPTIONAL:
            return _empty_log()
        if mode is LogMode.ON_WRITE:
            return _created_on_write(log_address(settings))
        raise
    if mode in (LogMode.UPDATE, LogMode.ON_WRITE):
        reader.dispose()
        return open_engine(log_address(settings), setting=SETTING)
    return reader


def open_reader(settings: Settings, *, any_version: bool = False) -> Engine:
    """Return an engine that only reads the delivery log, and creates nothing.

    Args:
        any_version: also one whose schema is older or newer than this mailctl.

    Raises: as `open_delivery_log`.
    """
    url = log_address(settings)
    if sqlite.is_absent(url):
        raise _missing(url, settings)
    reader = open_log_reader(url, setting=SETTING)
    with _disposed_on_error(reader):
        version = read_version(reader)
        if version.current is None:
            raise _missing(url, settings)
        if not any_version:
            refuse_other_version(version)
    return reader


def _create(url: URL) -> Engine:
    engine = open_engine(url, setting=SETTING)
    with _disposed_on_error(engine):
        ensure_current(engine)
    return engine


def _created_on_write(url: URL) -> Engine:
    engine = open_engine(url, setting=SETTING)
    # By another engine: this one reads the stand-in until all tables are there.
    LateCreation(_empty_log(), lambda: _create(url).dispose()).attach_to(engine)
    return engine


@contextmanager
def _disposed_on_error(engine: Engine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


def is_stand_in(engine: Engine) -> bool:
    """Whether an engine reads the empty log that stands in for a missing one."""
    return engine.url.get_backend_name() == "sqlite" and not engine.url.database


def _empty_log() -> Engine:
    dialect = sqlite_dialect.dialect()
    return sqlite.open_empty(
        [str(CreateTable(each).compile(dialect=dialect)) for each in metadata.sorted_tables]
    )


def _missing(url: URL, settings: Settings) -> LogMissing:
    names = "MAILCTL_HOME or MAILCTL_DATABASE_URL names another"
    return LogMissing(
        f"There is no delivery log at {shown(url)}.",
        fix=f"The first email or worker creates it; {names}{logs_nearby(settings)}.",
    )


def logs_nearby(settings: Settings) -> str:
    """Return a clause that names the logs in and around the working directory; "" if there is none."""
    relative = _DEFAULT_HOME if settings.mailctl_home.is_absolute() else settings.mailctl_home
    own = log_address(settings)
    homes = [
        home
        for home in homes_around(Path.cwd(), home=relative)
        if own.get_backend_name() != "sqlite" or home / "mailctl.db" != sqlite.sqlite_path(own)
    ][:_MOST_NEARBY]
    if not homes:
        return ""
    are = "there is one" if len(homes) == 1 else "there are some"
    return f"; {are} nearby: {', '.join(_naming(home, settings) for home in homes)}"


def _naming(home: Path, settings: Settings) -> str:
    """Return the assignment that leads to a home's log: MAILCTL_HOME does not where there is an address."""
    if settings.mailctl_database_url is None:
        return f"MAILCTL_HOME={quoted(str(home))}"
    return f"{SETTING}={quoted(shown(sqlite_address(home / 'mailctl.db')))}"
