"""The relay: the order of a tick, what it does about errors, and how it ends."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from mailctl.delivery_log.opening import open_delivery_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import BrokerUnavailable, LogUnavailable
from mailctl.settings import Settings
from mailctl.worker.relay import _REST_FACTOR, LOCAL_TICK_SECONDS, Relay
from mailctl.worker.relay_clocks import IntervalTimer
from tests.emails import utc_now
from tests.unit.worker.fakes import Calls, parts
from tests.workers import worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

PATIENCE = 60
#: Longer than any test may take.
FOR_EVER = 3600.0
BROKER_DOWN = BrokerUnavailable("The broker does not answer.", fix="Start it.")
LOG_DOWN = LogUnavailable("The delivery log cannot be used.", fix="Start it.")


class DueEmails(Calls):
    """Due emails, of a campaign or not."""

    has_backlog = False


class Waits:
    """A watch that says in turn whether there are new emails; `seconds` has how long it was to wait."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.seconds: list[float] = []

    def wait(self, seconds: float) -> bool:
        """Note how long to wait, and do not."""
        self.seconds.append(seconds)
        return bool(self.answers) and self.answers.pop(0)

    def close(self) -> None:
        """Do nothing."""


class Publisher(Calls):
    """A publisher that counts what it has published."""

    published_count = 0


class Site:
    """A relay whose parts a test replaces; `calls` has their names in order."""

    def __init__(self, engine: Engine, *, broker: str = "memory://") -> None:
        app = Celery("site", broker=broker, backend="cache+memory://", set_as_current=False)
        self.workers = Calls(list_alive=(worker(id="w2"),))
        self.recovery = Calls()
        runtime: Any = parts(
            app=app,
            engine=engine,
            workers=self.workers,
            recovery=self.recovery,
            settings=Settings(),
            history=Calls(),
            own_task_emails=Calls(),
            circuits=None,
            clock=utc_now,
            refusals=Calls(),
        )
        self.has_ticked = threading.Event()
        self.relay = Relay(runtime, worker(), on_tick=self._on_tick)
        self.stuck, self.due, self.publisher = Calls(), DueEmails(), Publisher()
        self.relay._stuck_emails = self.stuck  # type: ignore[assignment]
        self.relay._due_emails = self.due  # type: ignore[assignment]
        self.relay._publisher.close()
        self.relay._publisher = self.publisher  # type: ignore[assignment]
        self.ticks = 0

    def says_that_it_publishes(self) -> bool:
        """Return what the heartbeat of a tick says."""
        self.workers.calls.clear()
        self.relay._heartbeat_timer = IntervalTimer(1)
        self.relay._tick()
        [(_, (worker,), _)] = [call for call in self.workers.calls if call[0] == "record_heartbeat"]
        return bool(worker.publishes_at_once)

    def _on_tick(self) -> None:
        self.ticks += 1
        self.has_ticked.set()

    def run_until(self, event: threading.Event) -> None:
        """Let the thread run until an event, and stop it."""
        self.relay.start()
        assert event.wait(PATIENCE)
        self.relay.stop()


@pytest.fixture
def new_log(tmp_path: Path) -> Iterator[Engine]:
    """An engine on a log that has just been created."""
    engine = open_delivery_log(Settings(mailctl_home=tmp_path), AccessMode.CREATE)
    yield engine
    engine.dispose()


@pytest.fixture
def site(new_log: Engine) -> Iterator[Site]:
    """The relay of a worker whose broker is in memory."""
    made = Site(new_log)
    yield made
    made.relay._close_parts()


@pytest.fixture
def shared(new_log: Engine) -> Iterator[Site]:
    """The relay of a worker whose broker is outside the process."""
    made = Site(new_log, broker="redis://localhost:1/0")
    yield made
    made.relay._close_parts()


def test_a_tick_signs_the_worker_in_before_it_publishes(site: Site) -> None:
    """Otherwise others would take the messages in its memory for those of a dead worker."""
    order: list[str] = []
    site.workers.record_heartbeat = lambda _: order.append("heartbeat")
    site.stuck.recover = lambda: order.append("recover")
    site.due.publish = lambda: order.append("publish")
    site.relay._tick()
    assert order == ["heartbeat", "recover", "publish"]


def test_a_tick_that_follows_at_once_asks_for_nothing(site: Site) -> None:
    """Neither a heartbeat nor a recovery is due, and nobody has written to the log."""
    site.relay._tick()
    before = (list(site.workers.calls), list(site.stuck.calls), list(site.due.calls))
    site.relay._tick()
    assert (site.workers.calls, site.stuck.calls, site.due.calls) == before
    assert site.ticks == 2


def test_the_interval_is_short_while_emails_wait_for_room_on_the_broker(shared: Site) -> None:
    """Also where the log is on a server."""
    shared.relay._tick_seconds = 1.0
    assert shared.relay.tick_seconds == 1.0
    shared.due.has_backlog = True
    assert shared.relay.tick_seconds == LOCAL_TICK_SECONDS


def test_heartbeats_say_whether_emails_may_be_left_to_the_relay(shared: Site, site: Site) -> None:
    """Not while the broker does not answer, nor soon after it took no message, nor in memory."""
    shared.publisher.answers["can_reach_broker"] = [True, False, True]
    said = [shared.says_that_it_publishes() for _ in range(2)]
    shared.relay._failed_at = time.monotonic()
    said += [shared.says_that_it_publishes(), site.says_that_it_publishes()]
    assert said == [True, False, False, False]
    assert shared.publisher.names == ["can_reach_broker"] * 2


def test_new_emails_end_the_rest_unless_there_is_a_backlog(shared: Site) -> None:
    """With a backlog there always are new ones, and each tick would keep the workers from the log."""
    shared.relay._tick_seconds = FOR_EVER
    waits = Waits()
    shared.relay._new_emails = waits  # type: ignore[assignment]
    shared.relay._rest(worked_seconds=0.0)
    shared.relay._stopped.set()
    shared.due.has_backlog = True
    shared.relay._rest(worked_seconds=0.0)
    assert waits.seconds == [FOR_EVER]


def test_only_a_relay_that_was_woken_rests_before_it_can_be_woken_again(shared: Site) -> None:
    """So new emails that come all the time do not occupy it, and those after a quiet while go at once."""
    shared.relay._tick_seconds = FOR_EVER
    waits = Waits(False, True, False, False)
    shared.relay._new_emails = waits  # type: ignore[assignment]
    worked = 0.001
    for _ in range(4):
        shared.relay._rest(worked_seconds=worked)
    rested = FOR_EVER - _REST_FACTOR * worked
    assert waits.seconds == [FOR_EVER, FOR_EVER, rested, FOR_EVER]


def test_a_relay_that_ends_signs_the_worker_off(site: Site) -> None:
    """The messages in its memory are gone, so their emails go back to the log."""
    site.run_until(site.has_ticked)
    assert site.workers.names[-2:] == ["unregister", "list_alive"]
    assert site.recovery.calls == [("return_orphans", (), {"alive": ["w2"]})]
    assert site.publisher.names == ["close"]


def test_messages_on_a_shared_broker_outlive_the_worker(shared: Site) -> None:
    """Another worker takes them."""
    shared.run_until(shared.has_ticked)
    assert shared.workers.names[-1] == "unregister"
    assert shared.recovery.calls == []


def test_a_log_that_is_down_does_not_keep_a_worker_from_ending(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Its heartbeat runs out by itself."""
    site.workers.answers["unregister"] = LOG_DOWN
    with caplog.at_level(logging.WARNING, logger="mailctl.relay"):
        site.run_until(site.has_ticked)
    assert "cannot unregister the worker" in caplog.text
    assert site.publisher.names == ["close"]
    assert not site.relay.is_signed_off


def test_a_worker_is_signed_off_later_if_the_log_answers_again(site: Site) -> None:
    """Over another runtime, as its own may be closed by then."""
    site.workers.answers["unregister"] = LOG_DOWN
    site.run_until(site.has_ticked)
    del site.workers.answers["unregister"]
    site.relay.sign_off(site.relay._runtime)
    assert site.relay.is_signed_off
    assert site.recovery.calls == [("return_orphans", (), {"alive": ["w2"]})]


def test_after_an_outage_of_the_log_leases_are_distrusted(site: Site) -> None:
    """No worker could extend its lease meanwhile; the relay goes on."""
    distrusted, before = threading.Event(), list[str]()

    def distrust() -> None:
        before.extend(site.stuck.names)
        distrusted.set()

    site.workers.answers["record_heartbeat"] = LOG_DOWN
    site.stuck.distrust_leases = distrust
    site.run_until(distrusted)
    assert "recover" not in before


def test_an_error_is_logged_when_it_begins_and_when_it_ends(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Not at every tick; an error of another kind is logged too."""
    with caplog.at_level(logging.INFO, logger="mailctl.relay"):
        for error in (BROKER_DOWN, BROKER_DOWN, LOG_DOWN, None, None):
            site.relay._log_change(error)
    assert caplog.messages == [
        "The broker does not answer. Start it.",
        "The delivery log cannot be used. Start it.",
        "the relay works again",
    ]


def test_the_broker_is_back_when_something_was_published(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """A tick without due emails proves nothing."""
    published = threading.Event()

    def publish() -> None:
        if site.ticks:
            site.publisher.published_count += 1
            published.set()

    site.relay._logged_error = BrokerUnavailable
    site.due.publish = publish
    site.relay._change_detector.may_have_changed = lambda: True  # type: ignore[method-assign]
    with caplog.at_level(logging.INFO, logger="mailctl.relay"):
        site.run_until(published)
    assert caplog.messages == ["the relay works again"]


def test_the_log_is_back_when_a_heartbeat_was_written(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk can be read: a tick that writes nothing proves nothing."""
    site.workers.answers["record_heartbeat"] = LOG_DOWN
    with caplog.at_level(logging.INFO, logger="mailctl.relay"):
        site.run_until(site.has_ticked)
    assert "the relay works again" not in caplog.messages


def test_an_unexpected_error_restarts_the_relay(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The log says what failed, without the text of the error."""
    site.relay._stopped.set()
    with caplog.at_level(logging.ERROR, logger="mailctl.relay"):
        assert site.relay._may_restart_after(KeyError("secret"))
    assert caplog.messages == ["the relay failed (KeyError); restarting it (1 of 3 times in 10 minutes)"]
    assert site.publisher.names == ["close"]


def test_a_relay_that_fails_again_and_again_gives_up(site: Site) -> None:
    """The worker is told why, and signed off."""
    given_up = threading.Event()
    reasons: list[str] = []

    def on_failed(reason: str) -> None:
        reasons.append(reason)
        given_up.set()

    site.relay._on_failed = on_failed
    site.workers.answers["record_heartbeat"] = ValueError()
    site.run_until(given_up)
    assert "again, after it was restarted 3 of 3 times in 10 minutes" in reasons[0]
    assert site.workers.names[-2:] == ["unregister", "list_alive"]
