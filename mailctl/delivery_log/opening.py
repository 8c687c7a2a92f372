"""Opening of the delivery log that the settings name, in one of the access modes."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.schema import CreateTable

from mailctl.delivery_log.discovery import find_homes
from mailctl.delivery_log.storage import sqlite
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.delivery_log.storage.engine import open_engine, open_log_reader
from mailctl.delivery_log.storage.late_creation import LateCreation, late_creation_of
from mailctl.delivery_log.storage.schema_version import (
    check_creation,
    ensure_current,
    read_version,
    require_current_version,
)
from mailctl.delivery_log.storage.tables import metadata
from mailctl.delivery_log.storage.urls import delivery_log_url, mask_url, sqlite_url
from mailctl.domain.shell_command import shell_quote
from mailctl.errors import LogMissing, LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.engine import URL

    from mailctl.settings import Settings

DATABASE_URL_SETTING = "MAILCTL_DATABASE_URL"
_DEFAULT_HOME = Path(".mailctl")
#: How many other logs nearby an error message names.
_MAX_NEARBY = 3


def open_delivery_log(settings: Settings, mode: AccessMode) -> Engine:
    """Return an engine on the delivery log, with the current schema.

    Args:
        settings: they name the log.
        mode: what opening the log may do to it.

    Raises:
        ConfigurationError: the URL is not usable, or the schema is older or newer than this mailctl.
        LogMissing: there is no log, and the mode does not create it.
        LogUnavailable: the log cannot be reached or created.
    """
    if mode is AccessMode.CREATE:
        return _create(delivery_log_url(settings))
    try:
        reader = open_reader(settings)
    except LogMissing:
        if mode is AccessMode.OPTIONAL:
            return open_stand_in()
        if mode is AccessMode.ON_WRITE:
            return _created_on_write(delivery_log_url(settings))
        raise
    if mode in (AccessMode.UPDATE, AccessMode.ON_WRITE):
        reader.dispose()
        return open_engine(delivery_log_url(settings), setting=DATABASE_URL_SETTING)
    return reader


def open_reader(settings: Settings, *, any_version: bool = False) -> Engine:
    """Return an engine that only reads the delivery log, and creates nothing.

    Args:
        any_version: whether to accept a schema that is older or newer than this mailctl.

    Raises: as `open_delivery_log`.
    """
    url = delivery_log_url(settings)
    if sqlite.is_absent(url):
        raise _log_missing_error(url, settings)
    reader = open_log_reader(url, setting=DATABASE_URL_SETTING)
    with _disposed_on_error(reader):
        version = read_version(reader)
        if version.current is None:
            raise _log_missing_error(url, settings)
        if not any_version:
            require_current_version(version)
    return reader


@contextmanager
def open_log(settings: Settings) -> Iterator[Engine]:
    """Open the database of the delivery log without checking its schema.

    Raises:
        ConfigurationError: the database URL is not usable.
    """
    engine = open_engine(delivery_log_url(settings), setting=DATABASE_URL_SETTING)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def open_log_for_reading(settings: Settings, *, any_version: bool = False) -> Iterator[Engine]:
    """Open the database of the delivery log for reading.

    Args:
        any_version: also accept a schema that is older or newer than this mailctl.

    Raises:
        ConfigurationError: the database URL or the schema is not usable.
        LogMissing: there is no delivery log.
        LogUnavailable: the database cannot be reached.
    """
    engine = open_reader(settings, any_version=any_version)
    try:
        yield engine
    finally:
        engine.dispose()


def _create(url: URL) -> Engine:
    engine = open_engine(url, setting=DATABASE_URL_SETTING)
    with _disposed_on_error(engine):
        ensure_current(engine)
    return engine


def _created_on_write(url: URL) -> Engine:
    engine = open_engine(url, setting=DATABASE_URL_SETTING)
    # Created by another engine: this one reads the stand-in until all tables exist.
    LateCreation(open_stand_in(), lambda: _create(url).dispose()).attach_to(engine)
    return engine


@contextmanager
def _disposed_on_error(engine: Engine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


def check_creatable(settings: Settings) -> None:
    """Check that the missing delivery log can be created, without creating anything.

    Raises:
        LogUnavailable: it cannot; the error says why.
    """
    url = delivery_log_url(settings)
    if url.get_backend_name() == "sqlite":
        _check_folder(sqlite.sqlite_path(url))
        return
    engine = open_engine(url, setting=DATABASE_URL_SETTING)
    try:
        check_creation(engine)
    except LogUnavailable as error:
        raise LogUnavailable(f"The delivery log cannot be created: {error.message}", fix=error.fix) from error
    finally:
        engine.dispose()


def _check_folder(path: Path) -> None:
    parent = next(folder for folder in path.parents if folder.exists())
    is_blocked = path.exists() and not os.access(path, os.W_OK)
    if is_blocked or not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise LogUnavailable(
            f"{path} cannot be created: {parent} is not writable.",
            fix=f"Give this user write access, or set MAILCTL_HOME or {DATABASE_URL_SETTING}.",
        )


def is_stand_in(engine: Engine) -> bool:
    """Whether an engine reads the empty log that stands in for a missing one."""
    return engine.url.get_backend_name() == "sqlite" and not engine.url.database


def missing_log_error(engine: Engine, settings: Settings) -> LogMissing | None:
    """Return the error that there is no delivery log; None if an engine has one to read."""
    late = late_creation_of(engine)
    is_missing = is_stand_in(engine) or (late is not None and late.readable(engine) is not engine)
    return _log_missing_error(delivery_log_url(settings), settings) if is_missing else None


def open_stand_in() -> Engine:
    """Return an engine on an empty log in memory, for a process whose delivery log cannot be opened."""
    dialect = sqlite_dialect.dialect()
    return sqlite.open_empty(
        [str(CreateTable(each).compile(dialect=dialect)) for each in metadata.sorted_tables]
    )


def _log_missing_error(url: URL, settings: Settings) -> LogMissing:
    names = "set MAILCTL_HOME or MAILCTL_DATABASE_URL to use another one"
    return LogMissing(
        f"There is no delivery log at {mask_url(url)}.",
        fix=f"The first email or worker creates it; {names}{describe_nearby_logs(settings)}.",
    )


def describe_nearby_logs(settings: Settings) -> str:
    """Return a clause that names delivery logs near the working directory; "" if there are none."""
    relative = _DEFAULT_HOME if settings.mailctl_home.is_absolute() else settings.mailctl_home
    own = delivery_log_url(settings)
    homes = [
        home
        for home in find_homes(Path.cwd(), home=relative)
        if own.get_backend_name() != "sqlite" or home / "mailctl.db" != sqlite.sqlite_path(own)
    ][:_MAX_NEARBY]
    if not homes:
        return ""
    are = "there is one" if len(homes) == 1 else "there are some"
    return f"; {are} nearby: {', '.join(_setting_assignment(home, settings) for home in homes)}"


def _setting_assignment(home: Path, settings: Settings) -> str:
    """Return the setting that selects the log of a home; MAILCTL_DATABASE_URL overrides MAILCTL_HOME."""
    if settings.mailctl_database_url is None:
        return f"MAILCTL_HOME={shell_quote(str(home))}"
    return f"{DATABASE_URL_SETTING}={shell_quote(mask_url(sqlite_url(home / 'mailctl.db')))}"
