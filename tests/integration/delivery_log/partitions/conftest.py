"""A log before and after it has got partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.delivery_log.conftest import Log, copies, open_log, partition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import PostgresServer

from tests.integration.delivery_log.partitions.contents import NOW, fill


@pytest.fixture
def plain(postgres_log_url: str) -> Iterator[Log]:
    """A log on PostgreSQL without partitions, at the time of the server."""
    yield from opened(postgres_log_url)


@pytest.fixture(scope="session")
def parted_log(postgres_server: PostgresServer, postgres_log: str) -> str:
    """The address of one with a partition for each day, from the first of a month of emails on."""
    url = postgres_server.make_database(copy_of=postgres_log)
    engine = open_log(url)
    fill(engine, days=range(0, 31, 3))
    partition(engine, now=NOW, days=3)
    engine.dispose()
    return url


@pytest.fixture
def parted(postgres_server: PostgresServer, parted_log: str) -> Iterator[Log]:
    """A copy of it, at the same time."""
    for url in copies(postgres_server, parted_log):
        yield from opened(url)


def opened(url: str) -> Iterator[Log]:
    engine = open_log(url)
    log = Log(engine)
    log.clock.now = NOW
    yield log
    engine.dispose()
