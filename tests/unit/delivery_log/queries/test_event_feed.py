"""The events of the log in their order."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.queries.event_feed import EventFilter, last_event_before, read_events
from mailctl.domain.states import State

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


def found(log: Log, *, after: int = 0, limit: int = 100, **wanted: Any) -> list[tuple[str, State]]:
    """Return the ids and the states of events."""
    entries = read_events(log.engine, EventFilter(**wanted), after=after, limit=limit)
    return [(entry.email_id, entry.event.state) for entry in entries]


def test_events_come_in_their_order_after_a_number(log: Log) -> None:
    """As many as are wanted."""
    first, second = log.add(first_id="a"), log.add(first_id="b")
    log.publications.mark_queued([first])
    assert found(log) == [("a", State.PENDING), ("b", State.PENDING), ("a", State.QUEUED)]
    assert found(log, after=1, limit=1) == [(second, State.PENDING)]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({"states": [State.QUEUED]}, ["a"]),
        ({"kinds": ["reset"]}, []),
        ({"queue": "celery", "campaign": "spring"}, ["b"]),
        ({"to": "MAX@"}, ["b"]),
    ],
)
def test_filters_leave_the_others_out(log: Log, wanted: dict[str, Any], ids: list[str]) -> None:
    """By what the event is, or what its email is."""
    log.queue(first_id="a")
    log.add("max@example.com", first_id="b", campaign="spring")
    assert [email_id for email_id, _ in found(log, **wanted)] == ids


def test_a_time_is_a_place_among_the_events(log: Log) -> None:
    """Without a time, it is the end."""
    log.add(first_id="a")
    log.forward(60)
    log.add(first_id="b")
    assert last_event_before(log.engine, None) == 2
    assert last_event_before(log.engine, log.now - timedelta(seconds=30)) == 1
    assert last_event_before(log.engine, log.now - timedelta(hours=1)) == 0
