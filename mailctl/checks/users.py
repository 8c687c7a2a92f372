"""Checks of the user directory."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from mailctl.checks.delivery_log import is_log_file_missing
from mailctl.checks.finding import CheckGroup, Finding, FindingStatus
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.errors import MailctlError
from mailctl.process.deadlines import call_with_deadline
from mailctl.settings.database_detection import describe_database_signs
from mailctl.users import ServiceUserDirectory, open_user_directory
from mailctl.users.embedded import UNKNOWN_DATABASE_FIX

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from sqlalchemy import Engine

    from mailctl.settings import Settings

_GROUP = CheckGroup(name="users")
_SETTING = "DATABASE_URL"


def check_users(settings: Settings, log: Engine | None, *, offline: bool) -> Generator[Finding, None, None]:
    """Check that the user directory can be read.

    Args:
        settings: the settings.
        log: the engine of the delivery log; None if there is no log.
        offline: whether to skip databases on the network.

    Raises:
        ConfigurationError: DATABASE_URL is not a database URL.
    """
    if settings.database_url is not None:
        yield from _service(settings, offline=offline)
        return
    if signs := settings.database_signs:
        yield _GROUP.warn(_SETTING, describe_database_signs(signs), fix=UNKNOWN_DATABASE_FIX)
    elif not settings.debug:
        yield _GROUP.warn(
            _SETTING,
            "It is not set; users are looked up in mailctl's own table, not in the service's database.",
            fix="Set DATABASE_URL to the service's database, or fill the table: mailctl users import FILE",
        )
    yield _embedded(settings, log)


def _service(settings: Settings, *, offline: bool) -> Iterator[Finding]:
    assert settings.database_url is not None
    address = settings.database_url.get_secret_value()
    if offline and parse_url(address, setting=_SETTING).get_backend_name() != "sqlite":
        yield _GROUP.skip("directory", "offline")
        return
    directory = ServiceUserDirectory(
        address, query=settings.mailctl_users_query, list_query=settings.mailctl_users_list_query
    )
    with closing(directory):
        yield (finding := _ask_directory("directory", directory.describe))
        if finding.status is FindingStatus.OK:
            yield _ask_directory("mailable", directory.describe_eligibility)


def _embedded(settings: Settings, log: Engine | None) -> Finding:
    if log is None:
        if not is_log_file_missing(settings):
            return _GROUP.skip("directory", "it is a table of the delivery log, which was not read")
        demo = ", with three demo users" if settings.debug and not settings.database_signs else ""
        return _GROUP.skip("directory", f"the users table will be created with the delivery log{demo}")
    with closing(open_user_directory(settings, log)) as directory:
        return _ask_directory("directory", directory.describe)


def _ask_directory(name: str, describe: Callable[[], str]) -> Finding:
    try:
        return _GROUP.ok(name, call_with_deadline(describe, service="The users' database"))
    except MailctlError as error:
        return _GROUP.error(name, error)
