"""The status of one queue, from the log and the broker."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mailctl.broker.messages import BrokerQueue
from mailctl.delivery_log.pauses import Pause, PauseScope
from mailctl.delivery_log.queries.queue_stats import QueueDepth, QueueRate
from mailctl.monitoring.queues import QueueStatus, _count_unlogged_ready
from tests.emails import NOW


def status(*, rate: float = 0.0, ready: int = 0, unacked: int = 0, **counts: Any) -> QueueStatus:
    """Return the status of a queue with these counts."""
    return QueueStatus(
        log_depth=QueueDepth(queue="celery", **counts),
        rate=QueueRate(outgoing=rate),
        workers=1,
        pause=None,
        on_broker=None,
        unlogged_ready=ready,
        unlogged_unacked=unacked,
        at=NOW,
    )


def test_the_depth_has_no_messages_without_an_email() -> None:
    """Those are ready or in flight, but they are not emails yet."""
    found = status(pending=1, queued=2, sending=4, ready=8, unacked=16)
    assert (found.depth, found.ready, found.in_flight) == (7, 1 + 2 + 8, 4 + 16)


def test_the_time_to_empty_follows_from_the_rate() -> None:
    """It is 0 if nothing is ready, and unknown while nothing is sent."""
    assert status(pending=12, rate=6.0).seconds_to_empty == 120.0
    assert status(sending=3).seconds_to_empty == 0.0
    assert status(pending=12).seconds_to_empty is None


def test_a_queue_that_has_stalled_has_no_time_to_empty() -> None:
    """What left it before says nothing about when it is empty; a slow queue may pause for longer."""
    moving = status(pending=12, rate=324.0)
    assert replace(moving, rate=QueueRate(outgoing=324.0, idle_seconds=5)).seconds_to_empty is not None
    assert replace(moving, rate=QueueRate(outgoing=324.0, idle_seconds=20)).seconds_to_empty is None
    assert replace(moving, rate=QueueRate(outgoing=6.0, idle_seconds=20)).seconds_to_empty is not None


def test_a_queue_that_only_defers_does_not_get_empty() -> None:
    """Emails that wait for their next attempt have not left it; nothing leaves a paused one."""
    assert status(deferred=12).seconds_to_empty is None
    assert status(pending=6, deferred=6, rate=6.0).seconds_to_empty == 120.0
    paused = Pause(scope=PauseScope.QUEUE, name="celery", reason="", actor="ada", since=NOW)
    assert replace(status(pending=12, rate=6.0), pause=paused).seconds_to_empty is None
    assert replace(status(), pause=paused).seconds_to_empty == 0.0
    assert replace(status(pending=12, rate=6.0), has_paused_emails=True).seconds_to_empty is None


def test_a_queue_without_a_worker_or_a_broker_does_not_get_empty() -> None:
    """Whatever was sent before."""
    assert replace(status(pending=12, rate=6.0), workers=0).seconds_to_empty is None
    assert replace(status(pending=12, rate=6.0), is_broker_down=True).seconds_to_empty is None
    assert replace(status(), workers=0).seconds_to_empty == 0.0


def test_the_oldest_age_is_never_negative() -> None:
    """The clock of another host may be ahead."""
    assert status(waiting_since=NOW - timedelta(seconds=90)).oldest_age_seconds == 90.0
    assert status(waiting_since=NOW + timedelta(seconds=2)).oldest_age_seconds == 0.0
    assert status().oldest_age_seconds is None


@pytest.mark.parametrize(("queued", "unlogged"), [(0, 4), (1, 3), (5, 0)])
def test_a_broker_that_only_counts_has_the_messages_beyond_those_of_the_log(
    queued: int, unlogged: int
) -> None:
    """RabbitMQ shows no messages; the published emails are among the ready ones."""
    on_broker = BrokerQueue(queue="celery", ready=4, messages=None, unacked=None, unclaimed=0)
    in_log = QueueDepth(queue="celery", queued=queued)
    assert _count_unlogged_ready(on_broker, frozenset(), in_log) == unlogged
    assert _count_unlogged_ready(None, frozenset(), in_log) == 0


def test_unclaimed_messages_are_unknown_without_a_broker() -> None:
    """None is not 0."""
    assert (status().name, status().unclaimed) == ("celery", None)
