"""A log before and after it has got partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.storage.engine import open_engine
from mailctl.delivery_log.storage.schema_version import upgrade
from mailctl.delivery_log.storage.urls import parse_url
from tests.integration.delivery_log.conftest import Log, partition

if TYPE_CHECKING:
    from collections.abc import Iterator

from tests.integration.delivery_log.partitions.contents import NOW, fill


@pytest.fixture
def plain(postgres_url: str) -> Iterator[Log]:
    """A log on PostgreSQL without partitions, at the time of the server."""
    engine = open_engine(parse_url(postgres_url, setting="X"), setting="X")
    upgrade(engine)
    log = Log(engine)
    log.clock.now = NOW
    yield log
    engine.dispose()


@pytest.fixture
def parted(plain: Log) -> Log:
    """The same with a partition for each day, from the first of a month of emails on."""
    fill(plain.engine, days=range(0, 31, 3))
    partition(plain.engine, now=NOW, days=3)
    return plain
