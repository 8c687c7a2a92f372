"""A soak: emails at a steady pace, and campaigns, while part after part fails (`MAILCTL_FAULTS=soak`)."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from mailctl.broker.inspector import BrokerInspector
from mailctl.celery_app import consumed_queues
from mailctl.domain.states import State
from mailctl.errors import ServiceUnavailable
from tests.faults.soak import Faults, descriptors, memory_kib

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.terminal import Window
    from tests.faults.conftest import Checker
    from tests.faults.site import Site
    from tests.servers import PostgresServer, RabbitServer, RedisServer

#: Seconds of all combinations together.
SECONDS = float(os.environ.get("MAILCTL_SOAK_SECONDS", "1800"))
PLACES = [("sqlite", "redis"), ("postgresql", "redis"), ("postgresql", "rabbitmq")]
EMAILS_A_SECOND = 20
CAMPAIGN = 200
#: Seconds between the beginnings of two faults, and how long one may last; longer than a lease.
FAULT_SECONDS = 15.0
LONGEST_SECONDS = 8.0
#: How often an email is sent again although the mail server may have it: each fault may be such a case.
RESENDS = 50
WAITING = (State.PENDING, State.QUEUED, State.SENDING, State.DEFERRED, State.HELD)

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(SECONDS + 1800),
    pytest.mark.skipif(os.environ.get("MAILCTL_FAULTS") != "soak", reason="takes half an hour"),
    pytest.mark.parametrize("site", ["sqlite"], indirect=True),
]


@pytest.mark.parametrize(("database", "broker"), PLACES)
def test_parts_fail_in_turn(
    site: Site,
    check: Checker,
    redis: RedisServer,
    rabbit_server: RabbitServer,
    postgres: PostgresServer,
    database: str,
    broker: str,
) -> None:
    """No email is lost, every duplicate is explained, nothing waits at the end, and memory stays flat."""
    chance = random.Random(f"{database} {broker}")
    site.smtp.keeps_log = False
    redis.persistent = False
    site.terminal.set(MAILCTL_AMBIGUOUS_RESENDS=RESENDS)
    if database == "postgresql":
        site.terminal.set(MAILCTL_DATABASE_URL=postgres.make_database())
    if broker == "rabbitmq":
        site.terminal.set(CELERY_BROKER_URL=rabbit_server.make_virtual_host())
    faults = Faults(
        site,
        rabbit_server if broker == "rabbitmq" else redis,
        postgres if database == "postgresql" else None,
        chance,
    )
    for _ in range(3):
        site.start_worker("-c", "2")
    soak(site, faults, chance, seconds=SECONDS / len(PLACES))
    site.repaired()
    check(duplicates=len(site.ids), patience=300)
    assert not any(site.count(state) for state in WAITING)
    site.wait_until(lambda: not messages_left(site))
    assert not messages_left(site)


def messages_left(site: Site) -> int:
    """Return how many messages the queues of the broker have."""
    app = site.runtime.app
    return sum(BrokerInspector(app).ready_counts(consumed_queues(app)).values())


def soak(site: Site, faults: Faults, chance: random.Random, *, seconds: float) -> None:
    """Send, and let one part after another fail; the first worker's memory and descriptors stay flat."""
    watched = site.workers[0]
    send_for(site, FAULT_SECONDS)
    before, ends_at = size(watched), time.monotonic() + seconds
    while time.monotonic() < ends_at:
        faults.supervise()
        fault, begun = faults.choose(), time.monotonic()
        passed, name = seconds - (ends_at - begun), getattr(fault, "__name__", "")
        print(f"{passed:6.0f} s  {len(site.ids):6} emails  {size(watched)}  {name}")
        with fault():
            attempt(lambda: site.enqueue_campaign(CAMPAIGN))
            send_for(site, chance.uniform(1, LONGEST_SECONDS))
        send_for(site, FAULT_SECONDS - (time.monotonic() - begun))
    faults.supervise()
    send_for(site, FAULT_SECONDS)
    memory, files = (after - first for after, first in zip(size(watched), before, strict=True))
    print(f"first worker: {size(watched)[0]} KiB ({memory:+} KiB), {files:+} descriptors")
    assert watched.process.poll() is None, watched.output
    assert memory < 30 * 1024
    assert files < 20


def size(worker: Window) -> tuple[int, int]:
    """Return the memory of a worker's main process in KiB, and its number of descriptors."""
    return memory_kib(worker.process.pid), descriptors(worker.process.pid)


def send_for(site: Site, seconds: float) -> None:
    """Record emails at the pace of the soak; a call that raises has recorded nothing."""
    ends_at = time.monotonic() + seconds
    while (now := time.monotonic()) < ends_at:
        attempt(lambda: site.call(EMAILS_A_SECOND))
        time.sleep(max(0.0, min(ends_at, now + 1) - time.monotonic()))


def attempt(send: Callable[[], None]) -> None:
    """Send, unless the part that is broken prevents it."""
    try:
        send()
    except ServiceUnavailable:
        return
