"""The users: where they are looked up, and whether they are found there."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from mailctl.checks.finding import Finding, Group
from mailctl.errors import MailctlError
from mailctl.log.database import parse_url
from mailctl.question import ask
from mailctl.users import ServiceDirectory, open_directory

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import Engine

    from mailctl.settings import Settings
    from mailctl.users import Directory

_GROUP = Group(name="users")
_SETTING = "DATABASE_URL"


def check_users(settings: Settings, log: Engine | None, *, offline: bool) -> Generator[Finding, None, None]:
    """Ask the directory of users for itself.

    Raises:
        ConfigurationError: DATABASE_URL is not an address.
    """
    if settings.database_url is not None:
        yield _service(settings, offline=offline)
        return
    if not settings.debug:
        yield _GROUP.warn(
            _SETTING,
            "is not set: users are looked up in a table of mailctl's own, not in the service's database",
            fix="Let DATABASE_URL name the service's database, or fill ours: `mailctl users import FILE`.",
        )
    yield _embedded(settings, log)


def _service(settings: Settings, *, offline: bool) -> Finding:
    assert settings.database_url is not None
    address = settings.database_url.get_secret_value()
    if offline and parse_url(address, setting=_SETTING).get_backend_name() != "sqlite":
        return _GROUP.skip("directory", "offline")
    return _described(ServiceDirectory(address, query=settings.mailctl_users_query))


def _embedded(settings: Settings, log: Engine | None) -> Finding:
    if log is None:
        demo = ", with three demo users in it" if settings.debug else ""
        return _GROUP.skip("directory", f"the table of users is made with the delivery log{demo}")
    return _described(open_directory(settings, log))


def _described(directory: Directory) -> Finding:
    with closing(directory):
        try:
            return _GROUP.ok("directory", ask(directory.describe, whom="The users' database"))
        except MailctlError as error:
            return _GROUP.error("directory", error)
