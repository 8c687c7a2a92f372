"""Queues as JSON."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from mailctl.broker.messages import BrokerQueue, CeleryMessage
from mailctl.delivery_log.pauses import Pause, PauseScope
from mailctl.delivery_log.queries.queue_stats import QueueDepth, QueueRate
from mailctl.errors import BrokerUnavailable
from mailctl.monitoring.queues import PeekResult, QueueEntry, QueueList, QueueStatus
from mailctl.views.queues import PauseChangeView, PauseView, QueueEntryView, QueueListView, QueueView
from tests.emails import NOW

PAUSE = Pause(scope=PauseScope.QUEUE, name="celery", reason="", actor="ada@desk", since=NOW)
MESSAGE = CeleryMessage(task_id="x", task="", queue="celery", email_ids=(), to=None, is_from_mailctl=False)


def queue(*, on_broker: BrokerQueue | None = None, pause: Pause | None = None) -> QueueStatus:
    """Return a queue whose oldest email has waited for a third of a second."""
    depth = QueueDepth(
        queue="celery",
        pending=1,
        queued=2,
        sending=3,
        scheduled=4,
        deferred=5,
        held=6,
        waiting_since=NOW - timedelta(seconds=1 / 3),
    )
    return QueueStatus(
        log_depth=depth,
        rate=QueueRate(incoming=1 / 3, outgoing=0.0),
        workers=1,
        pause=pause,
        on_broker=on_broker,
        unlogged_ready=1,
        unlogged_unacked=1,
        at=NOW,
    )


def broker_queue(**more: Any) -> BrokerQueue:
    """Return a queue of a broker that does not let anybody look."""
    fields: dict[str, Any] = {"messages": None, "unacked": None, "unclaimed": 0}
    return BrokerQueue(queue="celery", ready=7, **fields | more)


def test_figures_are_rounded() -> None:
    """While nothing is sent, nobody knows when a queue will be empty."""
    printed = QueueView.of(queue()).as_json()
    assert (printed["oldest_age_seconds"], printed["in_per_minute"], printed["seconds_to_empty"]) == (
        0.33,
        0.33,
        None,
    )


def test_a_broker_that_was_not_asked_is_null() -> None:
    """The messages that are not in the log are counted at the top all the same."""
    printed = QueueView.of(queue()).as_json()
    assert (printed["broker"], printed["unclaimed"], printed["foreign"]) == (None, None, 2)


def test_what_a_broker_does_not_tell_is_null() -> None:
    """Nobody can say then how many of its messages are in the log."""
    blind = QueueView.of(queue(on_broker=broker_queue())).as_json()["broker"]
    assert blind == {"ready": 7, "unacked": None, "foreign": None, "inspected": None}
    open_queue = broker_queue(messages=(MESSAGE, MESSAGE), unacked=(MESSAGE,))
    assert QueueView.of(queue(on_broker=open_queue)).as_json()["broker"] == {
        "ready": 7,
        "unacked": 1,
        "foreign": 2,
        "inspected": 2,
    }


def test_a_pause_without_a_reason_has_null() -> None:
    """Alike in the list of queues and in the answer to `queue pause`."""
    pause = PauseView.of(PAUSE).as_json()
    assert (pause["scope"], pause["reason"], pause["actor"]) == ("queue", None, "ada@desk")
    assert QueueView.of(queue(pause=PAUSE)).as_json()["paused"] == pause
    changed = PauseChangeView.of_change(PAUSE, is_paused=True, waiting=3, sending=1).as_json()
    assert changed == pause | {"is_paused": True, "waiting": 3, "sending": 1}


def test_the_list_says_why_the_broker_was_not_asked() -> None:
    """Under the key that the API has always had."""
    kind = Pause(scope=PauseScope.KIND, name="reset", reason="wrong", actor="ada", since=NOW)
    error = BrokerUnavailable("The broker refuses.")
    printed = QueueListView.of(QueueList(queues=(queue(),), paused_kinds=(kind,), broker_error=error))
    assert printed.as_json()["broker_error"] == "The broker refuses."
    assert [each["name"] for each in printed.as_json()["paused_kinds"]] == ["reset"]


def test_a_message_that_is_not_in_the_log_has_no_state() -> None:
    """Its place in the queue is known."""
    entry = QueueEntry(
        position=1,
        task_id=None,
        kind=None,
        state=None,
        age_seconds=None,
        attempts=None,
        to=None,
        is_on_broker=True,
    )
    peek = PeekResult(queue="celery", entries=(entry,), broker_error=None)
    printed = QueueEntryView.of(peek, entry).as_json()
    assert {name: value for name, value in printed.items() if value is not None} == {
        "queue": "celery",
        "position": 1,
        "on_broker": True,
    }
