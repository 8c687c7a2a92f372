"""Redis fails over to its replica, behind a Sentinel."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.faults.site import holds_within
from tests.servers import RedisServer, SentinelServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.conftest import Checker
    from tests.faults.site import Site

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(900),
    pytest.mark.parametrize("site", ["sqlite"], indirect=True),
]
MASTER = "mail-master"


@pytest.fixture
def sentinel(site: Site, tmp_path: Path) -> Iterator[SentinelServer]:
    """A Sentinel that the site asks for its Redis, which has a replica."""
    with RedisServer(tmp_path / "replica", password=site.redis.password) as replica:
        for server in (site.redis, replica):
            with closing(server.client()) as client:
                client.config_set("masterauth", site.redis.password)
        with closing(replica.client()) as client:
            client.replicaof("127.0.0.1", site.redis.port)
            assert holds_within(60, lambda: client.info("replication")["master_link_status"] == "up"), (
                "the replica has no link to its master after 60 s"
            )
        with SentinelServer(tmp_path / "sentinel", master=site.redis, name=MASTER) as sentinel:
            url = f"sentinel://:{site.redis.password}@127.0.0.1:{sentinel.port}/0"
            site.terminal.set(REDIS_URL=url, REDIS_SENTINEL_MASTER=MASTER)
            yield sentinel


def test_redis_fails_over(site: Site, check: Checker, sentinel: SentinelServer, is_long: bool) -> None:
    """The old master is read-only now; workers and publishers find the new one."""
    worker = site.start_worker("-c", "2")
    with closing(sentinel.client()) as client:
        for _ in range(3 if is_long else 1):
            site.enqueue(200 if is_long else 30)
            master = client.sentinel_get_master_addr_by_name(MASTER)
            assert holds_within(60, lambda: bool(client.sentinel_slaves(MASTER))), (
                "the sentinel knows no replica after 60 s"
            )
            client.execute_command("SENTINEL", "FAILOVER", MASTER)
            site.enqueue(10)
            assert holds_within(
                60, lambda old=master: client.sentinel_get_master_addr_by_name(MASTER) != old
            ), "the sentinel names the old master after 60 s"
    site.repaired()
    check()
    assert worker.process.poll() is None
