"""A delivery log on SQLite and on PostgreSQL, at a time that the test sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.attempt_results import AttemptResults
from mailctl.delivery_log.circuits import Circuits
from mailctl.delivery_log.claims import Claims
from mailctl.delivery_log.outbox import Outbox
from mailctl.delivery_log.publications import Publications
from mailctl.delivery_log.queries.lookups import EmailLookups
from mailctl.delivery_log.recovery import Recovery
from mailctl.delivery_log.storage import sqlite
from mailctl.delivery_log.storage.engine import open_engine
from mailctl.delivery_log.storage.partitions.conversion import Conversion
from mailctl.delivery_log.storage.partitions.planning import plan_partitions
from mailctl.delivery_log.storage.schema_version import upgrade
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_content, make_drafts, make_user
from mailctl.domain.request import EmailRequest
from mailctl.security.keyring import Keyring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Claim, Draft
    from mailctl.domain.states import State
    from tests.servers import PostgresServer


START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)
KEYRING = Keyring(["a-secret-key-for-tests"])


@pytest.fixture(autouse=True)
def _patient_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers of SQLite wait for each other however slow the disk is, on which other work may wait, too."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_SECONDS", 240)


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **length: float) -> datetime:
        """Let time go by."""
        self.now += timedelta(**length)
        return self.now


class Log:
    """A delivery log, all sides of it, at a time that the test sets."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.clock = Clock()
        self.outbox = self.outbox_with(KEYRING)
        self.publications = Publications(engine, clock=self.clock)
        self.circuits = Circuits(engine, server="smtp.example.com:587", clock=self.clock)
        self.results = AttemptResults(engine, clock=self.clock)
        self.recovery = Recovery(engine, clock=self.clock)
        self.history = EmailLookups(engine)

    def outbox_with(self, keyring: Keyring) -> Outbox:
        """Return the outbox of a process that knows these keys."""
        return Outbox(self.engine, keyring, idempotency_window=timedelta(days=1), clock=self.clock)

    def drafts(
        self,
        kind: Kind = WELCOME,
        *,
        email: str = "a@example.com",
        key: str | None = None,
        not_before: datetime | None = None,
    ) -> list[Draft]:
        """Return one email, ready to be recorded."""
        content = make_content(kind, make_user(email=email), origins=frozenset())
        now = self.clock.now
        return make_drafts(
            EmailRequest(kind=kind, idempotency_key=key, not_before=not_before),
            [content],
            queue="celery",
            now=now,
        )

    def add(self, kind: Kind = WELCOME, **more: Any) -> str:
        """Record an email that is due."""
        return self.outbox.add(self.drafts(kind, **more), due_at=self.clock.now).id

    def claim(self, email_id: str, *, worker: str, keyring: Keyring | None = None) -> Claim | None:
        """Take an email as a worker would."""
        claims = Claims(self.engine, keyring or KEYRING, lease=LEASE, clock=self.clock)
        taken = claims.claim([email_id], worker=worker).claims
        return taken[0] if taken else None

    def extend(self, claim: Claim) -> bool:
        """Prolong a lease; return whether that did anything."""
        before = self.history.find(claim.id)[0].lease_until
        Claims(self.engine, KEYRING, lease=LEASE, clock=self.clock).extend([claim])
        return self.history.find(claim.id)[0].lease_until != before

    def queue(self) -> str:
        """Record an email and say that it is on the broker."""
        email_id = self.add()
        self.publications.mark_queued([email_id])
        return email_id

    def state(self, email_id: str) -> State:
        """Return where an email stands."""
        return self.history.find(email_id)[0].state

    def story(self, email_id: str) -> list[str]:
        """Return the states that an email went through."""
        return [str(event.state) for event in self.history.events(email_id)]


def partition(engine: Engine, *, now: datetime = START, days: int | None = None) -> None:
    """Give a log on PostgreSQL partitions."""
    plan = plan_partitions(engine, now=now, days=days)
    for _ in Conversion(engine, ranges=plan.ranges).run():
        pass


#: The tests whose statements have to find emails in partitions as well.
_ON_PARTITIONS = ("test_claiming", "test_recovery", "test_stopping")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on all databases, and some with partitions."""
    if "log" in metafunc.fixturenames:
        layouts = ["sqlite", "postgresql"]
        if metafunc.module.__name__.rpartition(".")[2] in _ON_PARTITIONS:
            layouts.append("partitioned")
        metafunc.parametrize("log", layouts, indirect=True)


def open_log(url: str) -> Engine:
    """Open a delivery log, which is created if the database is empty."""
    engine = open_engine(parse_url(url, setting="MAILCTL_DATABASE_URL"), setting="MAILCTL_DATABASE_URL")
    upgrade(engine)
    return engine


@pytest.fixture(scope="session")
def postgres_log(postgres_server: PostgresServer) -> str:
    """The address of a delivery log on PostgreSQL, which costs less to copy than to create."""
    url = postgres_server.make_database()
    open_log(url).dispose()
    return url


@pytest.fixture(scope="session")
def partitioned_log(postgres_server: PostgresServer, postgres_log: str) -> str:
    """The address of one with partitions."""
    url = postgres_server.make_database(copy_of=postgres_log)
    engine = open_log(url)
    partition(engine)
    engine.dispose()
    return url


@pytest.fixture
def postgres_log_url(postgres_server: PostgresServer, postgres_log: str) -> Iterator[str]:
    """The address of a copy of a log on PostgreSQL."""
    yield from copies(postgres_server, postgres_log)


@pytest.fixture
def partitioned_log_url(postgres_server: PostgresServer, partitioned_log: str) -> Iterator[str]:
    """The address of a copy of one with partitions."""
    yield from copies(postgres_server, partitioned_log)


def copies(server: PostgresServer, original: str) -> Iterator[str]:
    """Yield the address of a copy, and remove it."""
    url = server.make_database(copy_of=original)
    yield url
    server.drop_database(url)


@pytest.fixture
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    """An empty delivery log."""
    urls = {"postgresql": "postgres_log_url", "partitioned": "partitioned_log_url"}
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'log.db'}"
    else:
        url = request.getfixturevalue(urls[request.param])
    engine = open_log(url)
    yield Log(engine)
    engine.dispose()
