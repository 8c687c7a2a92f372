"""Workers are killed, again and again, at moments that nobody chose."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.heartbeats import MAX_CLOCK_SKEW_SECONDS
from mailctl.worker.delivery import GROUP_SIZE
from tests.faults.forms import with_log_in
from tests.faults.site import CONNECTIONS, PATIENCE, thaw
from tests.smtp_server import Stall

if TYPE_CHECKING:
    from tests.faults.conftest import Checker
    from tests.faults.site import Site

#: Sets the clock of a process to what a file says.
CLOCK = Path(__file__).parents[1] / "data" / "clock"

#: The sessions of a process where it matters, and what two processes may be handing over at the same time.
_SESSIONS = 2 * CONNECTIONS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@with_log_in("sqlite")
def test_pool_processes_are_killed(site: Site, check: Checker, is_long: bool) -> None:
    """Their messages come back to the broker, their leases run out; the rest of the worker goes on."""
    emails, seconds = (5000, 120) if is_long else (40, 4)
    for _ in range(2):
        site.start_worker("-c", "2")
    site.enqueue(emails)
    kills = 0
    end = time.monotonic() + seconds
    chance = random.Random(7)
    while time.monotonic() < end:
        time.sleep(chance.uniform(0.3, 1.2))
        site.kill_a_child(chance)
        kills += 1
        if not is_long:
            site.enqueue(5)
    site.repaired()
    check(duplicates=kills)


def test_whole_workers_are_killed(site: Site, check: Checker, is_long: bool) -> None:
    """Another worker sends what they had in hand, after the lease and not after Redis' patience."""
    rounds = 20 if is_long else 2
    survivor = site.start_worker("-c", "1")
    in_hand = 0
    for _ in range(rounds):
        victim = site.start_worker("-c", "2")
        site.enqueue(30)
        time.sleep(random.Random(3).uniform(0.2, 0.6))
        site.kill_worker(victim)
        in_hand += 2
    site.repaired()
    check(duplicates=in_hand)
    assert survivor.process.poll() is None


#: The app of a service that has set nothing else: its workers take four messages a process in advance.
PLAIN_APP = """
from celery import Celery
from mailctl.settings import Settings

app = Celery("plain", broker=Settings.load().broker_url)
"""


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
@pytest.mark.parametrize("protocol", [1, 2])
def test_a_killed_worker_had_messages_of_another_program(
    site: Site, check: Checker, is_long: bool, protocol: int
) -> None:
    """They have no row; another worker takes them when the first has been silent for half a minute."""
    if not is_long:
        pytest.skip("takes longer than half a minute")
    site.smtp.script["banner"] = lambda _: Stall(3)
    (site.terminal.folder / "plain.py").write_text(PLAIN_APP)
    options = ("--app", "plain:app", "-c", "1")
    victim = site.start_worker(*options)
    app = site.runtime.app
    app.conf.task_protocol = protocol
    for number in range(6):
        person = {"username": "ada", "email": f"user{number}@example.com", "first_name": "Ada"}
        sent = app.send_task("send_welcome_email_task", kwargs={"user_data": person}, ignore_result=True)
        site.ids.append(sent.id)
    client = site.redis.client()
    victim.wait_until(lambda: client.hlen("unacked") == 4)
    client.close()
    site.kill_worker(victim)
    site.smtp.script.clear()
    site.start_worker(*options)
    site.repaired()
    check(duplicates=1)


@with_log_in("sqlite")
def test_workers_are_stopped_under_load(site: Site, check: Checker, is_long: bool) -> None:
    """SIGTERM: what is in hand is finished, the rest goes back, nothing goes out twice."""
    for _ in range(10 if is_long else 2):
        worker = site.start_worker("-c", "2")
        site.enqueue(30)
        time.sleep(0.3)
        assert worker.stop() == 0
    site.workers.clear()
    site.start_worker("-c", "2")
    site.repaired()
    check()


def test_two_relays_share_a_log(site: Site, check: Checker, is_long: bool) -> None:
    """Each email is published by one of them, and sent once whoever publishes it."""
    for _ in range(2):
        site.start_worker("-c", "1")
    site.enqueue(80 if is_long else 40, publishes=False)
    site.repaired()
    check()


@with_log_in("sqlite")
def test_workers_are_killed_during_a_campaign(site: Site, check: Checker, is_long: bool) -> None:
    """A batch that is cut short loses nothing; only the group in hand is in doubt."""
    emails, kills = (5000, 20) if is_long else (240, 3)
    # The same emails are at the head of the queue after each kill.
    site.terminal.set(MAILCTL_AMBIGUOUS_RESENDS=kills)
    chance = random.Random(5)
    for _ in range(2):
        site.start_worker("-c", "1")
    site.enqueue_campaign(emails)
    in_hand = 0
    for _ in range(kills):
        time.sleep(chance.uniform(0.2, 0.8))
        in_hand += GROUP_SIZE
        if chance.random() < 0.5:
            site.kill_a_child(chance)
        else:
            site.kill_worker(chance.choice(site.workers))
            site.start_worker("-c", "1")
    site.repaired()
    check(duplicates=in_hand, patience=600 if is_long else PATIENCE)


@with_log_in("sqlite")
@pytest.mark.parametrize("hours", [1, -1], ids=["forward", "back"])
def test_the_clock_jumps_by_an_hour(site: Site, check: Checker, hours: int, tmp_path: Path) -> None:
    """Emails in hand are nobody else's for that, and a time that is far away keeps nothing waiting."""
    clock = tmp_path / "clock"
    clock.write_text(str(max(0, -hours) * 3600))
    site.terminal.environment = {"PYTHONPATH": str(CLOCK), "TEST_CLOCK_FILE": str(clock)}
    site.smtp.script["body"] = lambda _: Stall(0.3)
    for _ in range(2):
        site.start_worker("-c", "2")
    site.enqueue(40)
    time.sleep(1)
    clock.write_text(str(max(0, hours) * 3600))
    site.enqueue(10)
    site.repaired()
    check()


@with_log_in("sqlite")
def test_a_worker_is_asleep_for_longer_than_its_lease(site: Site, check: Checker, is_long: bool) -> None:
    """Another sends what it had claimed; when it wakes up, it sends none of that again."""
    site.smtp.script["mail"] = lambda _: Stall(0.1)
    sleeper = site.start_worker("-c", "2")
    site.enqueue_campaign(200 if is_long else 120)
    site.wait_until_finished(8)
    family = site.freeze_worker(sleeper)
    site.start_worker("-c", "2")
    site.wait_until_finished(len(site.ids))
    if is_long:
        time.sleep(30)
    accepted = len(site.smtp.messages)
    thaw(family)
    site.enqueue(10)
    site.repaired()
    # What it had handed over and not recorded is in doubt.
    check(duplicates=GROUP_SIZE // 2 + 2)
    assert len(site.smtp.messages) - accepted <= 10 + _SESSIONS


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_the_clocks_of_two_hosts_differ(site: Site, check: Checker, tmp_path: Path) -> None:
    """By far more than a lease: nobody takes over what another is sending, and both share the log."""
    site.smtp.script["body"] = lambda _: Stall(0.3)
    for seconds in (45, -8):
        clock = tmp_path / f"clock{seconds}"
        clock.write_text(str(seconds))
        site.terminal.environment = {"PYTHONPATH": str(CLOCK), "TEST_CLOCK_FILE": str(clock)}
        site.start_worker("-c", "2")
    site.enqueue(40)
    site.repaired()
    check()
    skews = sorted(worker.clock_skew or 0.0 for worker in site.runtime.workers.list_alive())
    assert skews[0] < -MAX_CLOCK_SKEW_SECONDS < MAX_CLOCK_SKEW_SECONDS < skews[1]
    assert all("the clock of this host differs" in worker.output for worker in site.workers)


@with_log_in("postgresql")
def test_everything_dies_at_once(site: Site, check: Checker, is_long: bool) -> None:
    """Four workers; every second one of them or its pool process is killed; Redis comes back empty."""
    emails, seconds, losses = (5000, 120, 3) if is_long else (60, 6, 1)
    chance = random.Random(11)
    for _ in range(4):
        site.start_worker("-c", "1")
    site.enqueue(emails)
    started = time.monotonic()
    in_hand = lost = 0
    while time.monotonic() - started < seconds:
        time.sleep(1)
        if not is_long:
            site.enqueue(10)
        in_hand += 1
        if chance.random() < 0.5:
            site.kill_a_child(chance)
        else:
            site.kill_worker(chance.choice(site.workers))
            site.launch_worker("-c", "1")
        if lost < losses and time.monotonic() - started > seconds * (lost + 1) / (losses + 1):
            lost += 1
            site.redis.kill()
            site.redis.start()
    site.repaired()
    check(duplicates=in_hand, patience=1200 if is_long else PATIENCE)
