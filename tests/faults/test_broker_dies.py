"""Redis goes away, comes back without its memory, loses messages and delivers them twice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.forms import with_log_in

if TYPE_CHECKING:
    from tests.faults.conftest import Checker
    from tests.faults.site import Site

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
QUEUE = "celery"


@pytest.mark.parametrize("keeps", [False, True], ids=["empty", "with its data"])
@with_log_in("postgresql")
def test_redis_comes_back(site: Site, check: Checker, is_long: bool, keeps: bool) -> None:
    """What it has lost is published again, from the log; what it has kept goes out once."""
    site.redis.persistent = keeps
    site.redis.restart()
    site.start_worker("-c", "2")
    for _ in range(3 if is_long else 1):
        site.enqueue(60)
        site.redis.kill()
        site.enqueue(10)
        time.sleep(2)
        site.redis.start()
    site.repaired()
    check()


@with_log_in("sqlite")
def test_redis_is_down_when_emails_are_recorded(site: Site, check: Checker) -> None:
    """They wait in the log, and a relay publishes them."""
    site.start_worker("-c", "2")
    site.redis.stop()
    site.enqueue(30)
    site.redis.start()
    site.repaired()
    check()


#: The app of a service with a task of its own, which is acknowledged late.
OWN_TASK_APP = """
import time
from celery import Celery
from mailctl.settings import Settings

app = Celery("own", broker=Settings.load().broker_url)
app.conf.task_acks_late = True


@app.task(name="shop.count", ignore_result=True)
def count(number):
    with open("begun.txt", "a") as file:
        file.write(f"{number}\\n")
    time.sleep(2)
"""


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_task_of_the_service_runs_while_redis_closes_its_connections(site: Site) -> None:
    """It is acknowledged over the next connection, and does not run a second time."""
    (site.terminal.folder / "own.py").write_text(OWN_TASK_APP)
    worker = site.start_worker("--app", "own:app", "-c", "2")
    begun = site.terminal.folder / "begun.txt"
    client = site.redis.client()
    for number in range(6):
        site.runtime.app.send_task("shop.count", args=[number], queue=QUEUE, ignore_result=True)
    for count in (2, 4, 6):
        worker.wait_until(lambda count=count: begun.is_file() and len(begun.read_text().split()) >= count)
        client.client_kill_filter(_type="normal", skipme=True)
    worker.wait_until(lambda: client.llen(QUEUE) + client.hlen("unacked") == 0)
    client.close()
    assert sorted(begun.read_text().split()) == [str(number) for number in range(6)]
    assert worker.stop() == 0


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_redis_is_emptied_again_and_again(site: Site, check: Checker, is_long: bool) -> None:
    """Waiting and unacknowledged messages, bindings and all."""
    site.start_worker("-c", "2")
    client = site.redis.client()
    for _ in range(6 if is_long else 3):
        site.enqueue(100 if is_long else 20)
        client.flushall()
        time.sleep(5 if is_long else 0.5)
    client.close()
    site.repaired()
    check()


@with_log_in("postgresql")
def test_messages_are_lost_by_hand(site: Site, check: Checker) -> None:
    """The queue is deleted; the log knows what was in it, and that only its own workers could take it."""
    site.terminal.set(MAILCTL_MESSAGES="reference")
    site.enqueue(30)
    client = site.redis.client()
    assert client.llen(QUEUE) == 30
    client.delete(QUEUE)
    client.close()
    site.start_worker("-c", "2")
    site.repaired()
    check()


@with_log_in("sqlite")
def test_messages_are_delivered_twice(site: Site, check: Checker) -> None:
    """Only one claim wins, and a finished email is never claimed."""
    site.enqueue(30)
    client = site.redis.client()
    messages = client.lrange(QUEUE, 0, -1)
    for _ in range(2):
        client.lpush(QUEUE, *messages)
    client.close()
    for _ in range(2):
        site.start_worker("-c", "2")
    site.repaired()
    check()


@with_log_in("sqlite")
def test_rubbish_does_not_block_the_queue(site: Site, check: Checker) -> None:
    """Neither invalid JSON, nor an unknown task, nor an envelope without one."""
    client = site.redis.client()
    client.lpush(
        QUEUE,
        b'{"body": "bm90IGpzb24=", "headers": {"task": "send_welcome_email_task", "id": "x"}, '
        b'"content-type": "application/json", "content-encoding": "utf-8", "properties": '
        b'{"delivery_tag": "t1", "delivery_info": {"exchange": "", "routing_key": "celery"}, '
        b'"body_encoding": "base64"}}',
    )
    client.close()
    site.runtime.app.send_task("no.such.task", args=[1], queue=QUEUE, ignore_result=True)
    site.runtime.app.send_task("send_email_task", args=[1, 2, 3, 4], queue=QUEUE, ignore_result=True)
    site.start_worker("-c", "1")
    site.enqueue(10)
    site.repaired()
    # What is no JSON, and what has bad arguments, became emails that have failed.
    site.wait_until_finished(10 + 2)
    check()
