"""The depth of a queue, and what is counted beside it."""

from __future__ import annotations

from mailctl.delivery_log.queries.queue_stats import QueueDepth
from mailctl.domain.models import UNFINISHED_STATES, State

DEPTH = QueueDepth(
    queue="celery", pending=1, queued=2, sending=4, scheduled=8, deferred=16, postponed=6, held=32
)


def test_the_depth_is_what_is_due_now() -> None:
    """Scheduled, deferred and held emails are not in it."""
    assert DEPTH.depth == 1 + 2 + 4


def test_all_counts_together_are_the_unfinished_emails() -> None:
    """Each is counted once."""
    assert DEPTH.unfinished == 1 + 2 + 4 + 8 + 16 + 32
    assert sum(DEPTH.states.values()) == DEPTH.unfinished


def test_states_are_those_of_the_rows() -> None:
    """A scheduled or postponed email is in state `pending`."""
    assert DEPTH.states == {
        State.PENDING: 1 + 8 + 6,
        State.QUEUED: 2,
        State.SENDING: 4,
        State.DEFERRED: 16 - 6,
        State.HELD: 32,
    }
    assert DEPTH.states.keys() == UNFINISHED_STATES


def test_an_empty_queue_has_no_states() -> None:
    """Its depth is 0."""
    empty = QueueDepth(queue="celery")
    assert (empty.depth, empty.unfinished, empty.states, empty.waiting_since) == (0, 0, {}, None)
