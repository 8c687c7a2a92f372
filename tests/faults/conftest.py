"""Sites for the fault suite, how hard it tries, and the table that it ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import certificates, production, redis, smtp_server, terminal
from tests.faults.account import PROPERTY
from tests.faults.forms import IS_LONG, LOGS
from tests.faults.site import CONNECTIONS, PATIENCE, Site
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.terminal import Terminal
    from tests.faults.account import Account
    from tests.servers import RedisServer
    from tests.smtp_server import ScriptedSmtpServer

__all__ = ["certificates", "production", "redis", "smtp_server", "terminal"]


@pytest.fixture
def is_long() -> bool:
    """Whether to run the long form: MAILCTL_FAULTS=long."""
    return IS_LONG


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, which it may stop."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=LOGS)
def site(
    request: pytest.FixtureRequest,
    production: Terminal,
    redis: RedisServer,
    smtp_server: ScriptedSmtpServer,
) -> Iterator[Site]:
    """A site in production, its log in SQLite or in PostgreSQL."""
    production.set(
        MAILCTL_HOME=production.folder / ".mailctl",
        MAILCTL_LEASE_SECONDS=5,
        MAILCTL_SMTP_CONNECTIONS=CONNECTIONS,
        MAILCTL_SMTP_TIMEOUT_SECONDS=5,
        MAILCTL_SMTP_DATA_TIMEOUT_SECONDS=5,
    )
    if request.param == "postgresql":
        production.set(MAILCTL_DATABASE_URL=request.getfixturevalue("postgres_url"))
    with Site(production, redis, smtp_server) as site:
        yield site


@pytest.fixture(params=["redis", "rabbitmq"])
def any_broker(request: pytest.FixtureRequest, site: Site, is_long: bool) -> None:
    """The site on each broker; on RabbitMQ in the long form only."""
    if request.param == "rabbitmq":
        if not is_long:
            pytest.skip("in the long form only")
        site.terminal.set(CELERY_BROKER_URL=request.getfixturevalue("rabbit_url"))


@pytest.fixture
def check(request: pytest.FixtureRequest, site: Site) -> Checker:
    """Accounts for the site's emails, and holds the account to the bounds."""
    name = request.node.name.removeprefix("test_").replace("_", " ")
    return Checker(site, name, request.node.user_properties)


class Checker:
    """Ends a scenario."""

    def __init__(self, site: Site, name: str, properties: list[tuple[str, object]]) -> None:
        self._site = site
        self._name = name
        self._properties = properties

    def __call__(self, *, ended: int = 0, duplicates: int = 0, patience: float = PATIENCE) -> Account:
        """Account for every email: none lost, and those that were sent twice with a reason.

        Args:
            ended: how many ended without being sent.
            duplicates: of how many processes the emails in hand may have been sent twice.
            patience: seconds after which what is not finished counts as lost.
        """
        account = self._site.account(self._name, patience=patience)
        self._properties.append((PROPERTY, account.row))
        assert not account.lost, self._site.report(account.lost[:3])
        assert account.duplicates == account.duplicates_explained, account
        assert account.duplicates <= duplicates * CONNECTIONS, account
        assert account.ended == ended, account
        return account
