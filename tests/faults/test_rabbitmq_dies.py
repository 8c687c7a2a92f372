"""RabbitMQ is killed, blocks publishers, loses messages or falls silent."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import amqp
import pytest

from mailctl.worker.delivery import GROUP_SIZE
from tests.servers import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.conftest import Checker
    from tests.faults.site import Site
    from tests.servers import RabbitServer

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(900),
    pytest.mark.parametrize("site", ["sqlite"], indirect=True),
]
QUEUE = "celery"


@pytest.fixture
def rabbit(rabbit_server: RabbitServer, site: Site) -> Iterator[str]:
    """The site on RabbitMQ, in a virtual host of its own; returns its address."""
    url = rabbit_server.make_virtual_host()
    site.terminal.set(CELERY_BROKER_URL=url)
    yield url
    rabbit_server.thaw()
    rabbit_server.start()


def _connection(server: RabbitServer, url: str) -> amqp.Connection:
    host = url.rpartition("/")[2]
    return amqp.Connection(f"127.0.0.1:{server.port}", virtual_host=host)


def test_it_is_killed_under_load(
    site: Site, check: Checker, rabbit: str, rabbit_server: RabbitServer, is_long: bool
) -> None:
    """What it had confirmed is there again, what it had not is published again."""
    site.start_worker("-c", "2")
    for _ in range(3 if is_long else 1):
        site.enqueue(600 if is_long else 30)
        rabbit_server.kill()
        site.enqueue(10)
        rabbit_server.start()
    site.repaired()
    check()


@pytest.mark.parametrize("is_reset", [False, True], ids=["comes back", "is reset"])
def test_it_is_silent(
    site: Site, check: Checker, rabbit_server: RabbitServer, is_long: bool, is_reset: bool
) -> None:
    """Like a network that drops everything, or a firewall that has forgotten the connections."""
    url = rabbit_server.make_virtual_host()
    with Proxy(rabbit_server.port) as network:
        site.terminal.set(CELERY_BROKER_URL=url.replace(str(rabbit_server.port), str(network.port)))
        worker = site.start_worker("-c", "2")
        site.enqueue(200 if is_long else 30)
        network.silence()
        site.enqueue(5)
        time.sleep(60 if is_long else 1)
        if is_reset:
            network.reset()
        else:
            network.resume()
        site.repaired()
        check()
        assert worker.process.poll() is None
        assert worker.stop() == 0


QUORUM_APP = """
from celery import Celery
from mailctl.settings import Settings

app = Celery("quorum", broker=Settings.load().broker_url)
app.conf.task_default_queue_type = "quorum"
"""


def test_quorum_queues_work(
    site: Site, check: Checker, rabbit: str, rabbit_server: RabbitServer, is_long: bool
) -> None:
    """A worker and its pool processes are killed; every email comes back."""
    (site.terminal.folder / "quorum.py").write_text(QUORUM_APP)
    options = ("--app", "quorum:app", "-c", "2")
    site.start_worker(*options)
    victim = site.start_worker(*options)
    ids = site.terminal.run("--app", "quorum:app", "send", "welcome", "--email", "a@example.com", "--json")
    assert ids.code == 0, ids.err
    site.ids.append(ids.data["task_id"])
    site.enqueue(300 if is_long else 20, publishes=False)
    site.enqueue_campaign(100 if is_long else 60)
    site.wait_until_finished(20)
    site.kill_worker(victim)
    site.repaired()
    check(duplicates=2 + GROUP_SIZE)
    with _connection(rabbit_server, rabbit) as connection:
        # A queue of another type is refused.
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})


def test_its_connections_are_closed_and_a_worker_is_killed(
    site: Site, check: Checker, rabbit: str, rabbit_server: RabbitServer, is_long: bool
) -> None:
    """By an operator or a policy; what was unacknowledged is delivered again, and the claim absorbs it."""
    site.start_worker("-c", "2")
    victim = site.start_worker("-c", "2")
    for _ in range(5 if is_long else 1):
        site.enqueue(200 if is_long else 40)
        rabbit_server.control("close_all_connections", "--vhost", rabbit.rpartition("/")[2], "maintenance")
    site.enqueue(10)
    site.kill_worker(victim)
    site.repaired()
    check(duplicates=2)


def test_its_queue_is_purged(site: Site, check: Checker, rabbit: str, rabbit_server: RabbitServer) -> None:
    """The emails come back within their lease and five seconds."""
    site.enqueue(1)
    site.start_worker("-c", "1")
    site.wait_until_finished(1)
    worker = site.workers[0]
    site.terminal.suspend(worker.process.pid)
    site.enqueue(30)
    with _connection(rabbit_server, rabbit) as connection:
        connection.channel().queue_purge(QUEUE)
    worker.process.send_signal(signal.SIGCONT)
    site.repaired()
    check()


def test_it_blocks_publishers(
    site: Site, check: Checker, rabbit: str, rabbit_server: RabbitServer, is_long: bool
) -> None:
    """`mailctl send` and `close` return soon, and the emails wait in the log until the alarm is over."""
    site.start_worker("-c", "2")
    site.enqueue(10)
    site.wait_until_finished(10)
    rabbit_server.control("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        site.enqueue(20)
        site.terminal.wait_until_relays_notice()
        sent = site.terminal.run("send", "welcome", "--email", "ada@example.com", "--json")
        site.close_runtime()
        assert sent.code == 0
        assert "accepts no messages" in sent.err
        site.ids.append(sent.data["task_id"])
        time.sleep(30 if is_long else 0)
    finally:
        rabbit_server.control("set_vm_memory_high_watermark", "0.6")
    site.repaired()
    check()
