"""Redis is there and says nothing: stopped, or behind a network that drops what it carries."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.faults.forms import with_log_in
from tests.servers import Proxy

if TYPE_CHECKING:
    from tests.faults.conftest import Checker
    from tests.faults.site import Site

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.mark.parametrize("processes", [1, 2])
@with_log_in("sqlite")
def test_redis_is_stopped_for_a_while(site: Site, check: Checker, is_long: bool, processes: int) -> None:
    """The worker goes on with all of its processes once Redis answers."""
    worker = site.start_worker("-c", str(processes))
    for _ in range(2):
        site.enqueue(300 if is_long else 40)
        with site.redis.frozen():
            time.sleep(30 if is_long else 2)
    site.repaired()
    check()
    assert worker.process.poll() is None
    assert "Couldn't ack" not in worker.output


@with_log_in("sqlite")
def test_a_worker_can_be_stopped_while_redis_is_silent(site: Site, is_long: bool) -> None:
    """It gives up what it waits for, such as the heartbeat that Celery sends every two seconds."""
    if not is_long:
        pytest.skip("in the long form only")
    worker = site.start_worker("-c", "1")
    with site.redis.frozen():
        time.sleep(3)
        assert worker.stop() == 0
    site.workers.clear()


#: The app of a service whose consumer gives Redis little time to reply.
IMPATIENT_APP = """
from celery import Celery
from mailctl.settings import Settings

app = Celery("impatient", broker=Settings.load().broker_url)
app.conf.broker_transport_options = {"socket_timeout": 0.3, "socket_connect_timeout": 0.3}
app.conf.worker_prefetch_multiplier = 1
"""


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_an_acknowledgement_times_out(site: Site, check: Checker, is_long: bool) -> None:
    """Its prefetch slot is free again, and the message is acknowledged later."""
    (site.terminal.folder / "impatient.py").write_text(IMPATIENT_APP)
    worker = site.start_worker("--app", "impatient:app", "-c", "1")
    for _ in range(3 if is_long else 2):
        site.enqueue(40)
        with site.redis.frozen():
            time.sleep(15 if is_long else 2)
    site.repaired()
    check()
    with closing(site.redis.client()) as client:
        worker.wait_until(lambda: client.hlen("unacked") == 0)
    assert "Couldn't ack" not in worker.output


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_the_network_to_redis_drops_everything(site: Site, check: Checker, is_long: bool) -> None:
    """Connections stay open and carry nothing; later a firewall that has forgotten them resets them."""
    with Proxy(site.redis.port) as network:
        site.terminal.set(REDIS_PORT=network.port)
        worker = site.start_worker("-c", "2")
        site.enqueue(200 if is_long else 40)
        network.silence()
        time.sleep(30 if is_long else 2)
        network.reset()
        site.enqueue(10)
        site.repaired()
        check()
        assert worker.process.poll() is None
        assert "Couldn't ack" not in worker.output
        assert worker.stop() == 0


#: The app of a service with a task of its own, which notes that it has run.
SHOP_APP = """
from pathlib import Path
from celery import Celery
from mailctl.settings import Settings

app = Celery("shop", broker=Settings.load().broker_url)

@app.task(name="ship", ignore_result=True)
def ship(order):
    Path(f"shipped-{order}").touch()
"""


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_what_redis_delivers_into_a_dead_network_is_not_lost(site: Site, is_long: bool) -> None:
    """No log has the messages for a task of the service: what Redis has sent exists nowhere else."""
    (site.terminal.folder / "shop.py").write_text(SHOP_APP)
    orders = range(20 if is_long else 4)
    with Proxy(site.redis.port) as network:
        publisher = site.runtime.app
        site.terminal.set(REDIS_PORT=network.port)
        worker = site.start_worker("--app", "shop:app", "-c", "1")
        for order in orders:
            network.silence()
            publisher.send_task("ship", args=(order,), ignore_result=True)
            network.reset()
            worker.wait_until((site.terminal.folder / f"shipped-{order}").exists)
        assert worker.process.poll() is None
