"""Redis answers, and refuses: no memory, read-only after a failover, unable to save, no permission."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.process import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.conftest import Checker
    from tests.faults.site import Site

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def _out_of_memory(site: Site, redis: Any) -> Callable[[], object]:
    redis.config_set("maxmemory", 1)
    return lambda: redis.config_set("maxmemory", 0)


def _read_only(site: Site, redis: Any) -> Callable[[], object]:
    redis.replicaof("127.0.0.1", free_port())
    return lambda: redis.replicaof("NO", "ONE")


def _unable_to_save(site: Site, redis: Any) -> Callable[[], object]:
    file = site.redis.folder / "dump.rdb"
    file.mkdir()
    redis.config_set("save", "3600 1")
    redis.bgsave()
    while redis.info("persistence")["rdb_last_bgsave_status"] != "err":
        time.sleep(0.05)

    def repair() -> None:
        file.rmdir()
        redis.config_set("save", "")

    return repair


def _without_permission(site: Site, redis: Any) -> Callable[[], object]:
    redis.execute_command("ACL", "SETUSER", "default", "-@list")
    return lambda: redis.execute_command("ACL", "SETUSER", "default", "+@all")


#: By error code: what causes it, and what the reason of Redis contains.
REFUSALS = {
    "OOM": (_out_of_memory, "maxmemory"),
    "READONLY": (_read_only, "read only replica"),
    "MISCONF": (_unable_to_save, "MISCONF"),
    "NOPERM": (_without_permission, "no permissions"),
}


@pytest.fixture
def redis_client(site: Site) -> Iterator[Any]:
    """An administrator of the Redis of the site."""
    client = site.redis.client()
    yield client
    client.close()


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_redis_refuses_for_a_while(
    site: Site, check: Checker, redis_client: Any, refusal: str, is_long: bool
) -> None:
    """The worker says what is refused, stays alive, and goes on when it is repaired."""
    worker = site.start_worker("-c", "2")
    site.enqueue(200 if is_long else 20)
    cause, reason = REFUSALS[refusal]
    repair = cause(site, redis_client)
    site.enqueue(10)
    time.sleep(30 if is_long else 3)
    repair()
    site.repaired()
    check()
    assert worker.process.poll() is None
    refusals = [line for line in worker.output.splitlines() if "the broker refuses a request" in line]
    assert any(reason in line for line in refusals), refusals
    assert "Traceback" not in worker.output
