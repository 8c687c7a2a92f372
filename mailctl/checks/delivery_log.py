"""Checks of the delivery log: database, schema, open circuits and file permissions."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from mailctl.checks.finding import CheckGroup, Finding, as_sentence
from mailctl.checks.migrations import check_migrations
from mailctl.checks.partitions import check_partitions
from mailctl.delivery_log.circuits import read_circuits_in_use
from mailctl.delivery_log.heartbeats import WorkerRegistry
from mailctl.delivery_log.opening import check_creatable, describe_nearby_logs
from mailctl.delivery_log.queries.lookups import EmailLookups
from mailctl.delivery_log.rekey import has_unbound_contents
from mailctl.delivery_log.storage.engine import open_log_reader
from mailctl.delivery_log.storage.schema_version import read_version
from mailctl.delivery_log.storage.sqlite import sqlite_path
from mailctl.delivery_log.storage.urls import delivery_log_url, mask_url
from mailctl.delivery_log.write_probe import check_writable
from mailctl.domain.shell_command import chmod_command, mailctl_command
from mailctl.errors import MailctlError
from mailctl.process.deadlines import call_with_deadline, timed_call_with_deadline

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import URL, Engine

    from mailctl.delivery_log.storage.schema_version import SchemaVersion
    from mailctl.settings import Settings

_GROUP = CheckGroup(name="log")
_SETTING = "MAILCTL_DATABASE_URL"
_SERVICE_NAME = "The delivery log"
#: The maximum number of files in a fix.
_MAX_PATHS_SHOWN = 5
_READ_FIX = "Give this user read and write access, or set MAILCTL_HOME or MAILCTL_DATABASE_URL."


def check_log(settings: Settings, *, offline: bool) -> Generator[Finding, None, Engine | None]:
    """Check the delivery log without creating it.

    Returns:
        The engine, which the caller disposes of; None if there is no log or its schema is not current.

    Raises:
        ConfigurationError: the database driver is not installed.
    """
    url = delivery_log_url(settings)
    unavailable = _unavailable(url, settings, offline=offline)
    if unavailable is not None:
        yield unavailable
        return None
    # Before SQLite creates its temporary files beside the log.
    exposed = list(_permissions(settings, url))
    engine = open_log_reader(url, setting=_SETTING)
    is_usable = yield from _check_database(engine, settings)
    yield from exposed
    if is_usable:
        return engine
    engine.dispose()
    return None


def is_log_file(settings: Settings) -> bool:
    """Whether the delivery log is a SQLite file, which only one host can use."""
    return settings.log_url.startswith("sqlite")


def is_log_file_missing(settings: Settings) -> bool:
    """Whether the delivery log is a SQLite file that does not exist yet."""
    return is_log_file(settings) and not sqlite_path(delivery_log_url(settings)).exists()


def _unavailable(url: URL, settings: Settings, *, offline: bool) -> Finding | None:
    """Return the finding that the log cannot be opened; None if it can."""
    if url.get_backend_name() != "sqlite":
        return _GROUP.skip("database", "offline") if offline else None
    path = sqlite_path(url)
    return None if path.exists() else _missing_file(path, settings)


def _missing_file(path: Path, settings: Settings) -> Finding:
    """Return whether a missing file can be created."""
    try:
        check_creatable(settings)
    except MailctlError as error:
        return _GROUP.error("database", error)
    return _no_log_yet("database", f"{path} does not exist yet", settings)


def _no_log_yet(name: str, reason: str, settings: Settings) -> Finding:
    """Return the finding that there is no log yet; in production its address may be wrong."""
    detail = f"{reason}; the first email or worker creates it"
    if settings.debug:
        return _GROUP.ok(name, detail)
    fix = f"If there is a log already, correct MAILCTL_HOME or {_SETTING}{describe_nearby_logs(settings)}."
    return _GROUP.warn(name, as_sentence(detail), fix=fix)


def _check_database(engine: Engine, settings: Settings) -> Generator[Finding, None, bool]:
    path = sqlite_path(engine.url) if engine.url.get_backend_name() == "sqlite" else None
    if path is not None and not os.access(path, os.R_OK):
        yield _GROUP.fail("database", f"{path} is not readable.", fix=_READ_FIX)
        return False
    try:
        version, took = timed_call_with_deadline(lambda: read_version(engine), service=_SERVICE_NAME)
    except MailctlError as error:
        yield _GROUP.error("database", error)
        return False
    yield _GROUP.ok("database", f"{mask_url(engine.url)} answers in {took}")
    yield _schema(version, settings)
    if version.is_current:
        yield _writable(engine)
        yield _counts(engine)
        yield from _circuits(engine)
        yield from _unbound_contents(engine)
        yield from check_partitions(engine, _GROUP, service=_SERVICE_NAME)
        yield from check_migrations(settings, engine)
    return version.is_current


def _unbound_contents(engine: Engine) -> Iterator[Finding]:
    """Yield a failure if emails wait whose contents an earlier version sealed: no worker reads them."""
    try:
        has_some = call_with_deadline(lambda: has_unbound_contents(engine), service=_SERVICE_NAME)
    except MailctlError as error:
        yield _GROUP.error("contents", error)
        return
    if has_some:
        yield _GROUP.fail(
            "contents",
            "An earlier version of mailctl sealed the contents of some emails, and no worker reads them.",
            fix=f"Run: {mailctl_command('db', 'rekey')}",
        )


def _schema(version: SchemaVersion, settings: Settings) -> Finding:
    if version.is_current:
        return _GROUP.ok("schema", f"{version.current} is current")
    if version.current is None:
        return _missing_schema(settings)
    return _GROUP.fail(
        "schema",
        f"The schema version is {version.current}, but this mailctl needs {version.head}.",
        fix=f"Run: {mailctl_command('db', 'upgrade')}. If the log is newer, install a newer mailctl.",
    )


def _missing_schema(settings: Settings) -> Finding:
    try:
        call_with_deadline(lambda: check_creatable(settings), service=_SERVICE_NAME)
    except MailctlError as error:
        return _GROUP.error("schema", error)
    return _no_log_yet("schema", "the database has no delivery log yet", settings)


def _writable(engine: Engine) -> Finding:
    """Return whether an email can be recorded."""
    try:
        _, took = timed_call_with_deadline(lambda: check_writable(engine.url), service=_SERVICE_NAME)
    except MailctlError as error:
        return _GROUP.error("recording", error)
    return _GROUP.ok("recording", f"an email can be recorded, in {took}")


def _counts(engine: Engine) -> Finding:
    try:
        counts = call_with_deadline(EmailLookups(engine).count_by_state, service=_SERVICE_NAME)
    except MailctlError as error:
        return _GROUP.error("emails", error)
    by_state = [f"{count} {state}" for state, count in sorted(counts.items())]
    return _GROUP.ok("emails", ", ".join(by_state) or "none yet")


def _circuits(engine: Engine) -> Iterator[Finding]:
    """Yield a failure for each open circuit to a mail server that is in use."""
    try:
        found = call_with_deadline(
            lambda: read_circuits_in_use(engine, WorkerRegistry(engine).list_alive()), service=_SERVICE_NAME
        )
    except MailctlError as error:
        yield _GROUP.error("mail server", error)
        return
    for circuit in found:
        if circuit.is_open:
            fix = (
                "Fix the mail server, or its settings (see the smtp checks) and restart the workers;"
                " they try again by themselves."
            )
            yield _GROUP.fail("mail server", as_sentence(str(circuit)), fix=fix)


def _permissions(settings: Settings, url: URL) -> Iterator[Finding]:
    home = settings.mailctl_home.absolute()
    if url.get_backend_name() == "sqlite":
        path = sqlite_path(url)
        content = "it contains the addresses and states of emails"
        files = [path, *(path.with_name(path.name + ending) for ending in ("-wal", "-shm"))]
        yield from _exposure(files, content, mode="600")
    yield from _exposure([home], "it contains the delivery log and captured emails", mode="700")
    captured = home / "mail"
    yield from _exposure([captured], "it contains captured emails with their links", mode="700")
    if is_world_readable(home) and is_world_readable(captured):
        yield from _exposure(
            sorted(captured.glob("*.eml")), "it is a captured email with its links", mode="600"
        )


def _exposure(paths: Sequence[Path], content: str, *, mode: str) -> Iterator[Finding]:
    exposed = [path for path in paths if is_world_readable(path)]
    if exposed:
        others = f" and {len(exposed) - 1} more" if len(exposed) > 1 else ""
        yield _GROUP.warn(
            "permissions",
            f"All users of this host can read {exposed[0]}{others}; {content}.",
            fix=str(chmod_command(mode, exposed[:_MAX_PATHS_SHOWN])),
        )


def is_world_readable(path: Path) -> bool:
    """Whether all users of this host can read a file."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
