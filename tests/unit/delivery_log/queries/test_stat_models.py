"""Results of statistics: sums and shares."""

from __future__ import annotations

from mailctl.delivery_log.queries.stat_models import Activity, Totals
from mailctl.domain.states import State

STATES = {State.SENT: 5, State.CAPTURED: 1, State.FAILED: 1, State.EXPIRED: 1, State.CANCELLED: 4}


def test_totals_add_up() -> None:
    """Cancelled emails neither failed nor were sent."""
    totals = Totals(states=STATES | {State.HELD: 2})
    assert (totals.recorded, totals.sent, totals.captured) == (14, 5, 1)
    assert (totals.failed, totals.unfinished) == (2, 2)
    assert totals.failure_rate == 0.25


def test_unconfirmed_emails_count_as_neither_sent_nor_failed() -> None:
    """They are finished, and change no rate."""
    totals = Totals(states={State.SENT: 3, State.FAILED: 1, State.UNCONFIRMED: 6})
    assert (totals.sent, totals.failed, totals.unconfirmed, totals.unfinished) == (3, 1, 6, 0)
    assert totals.failure_rate == 0.25


def test_no_rate_without_emails() -> None:
    """Nothing is divided by zero."""
    assert Totals(states={State.PENDING: 3}).failure_rate is None
    assert Activity(recorded=3, entered={}).failure_rate is None


def test_activity_counts_what_ended() -> None:
    """An email may have ended more than once."""
    activity = Activity(recorded=1, entered=STATES)
    assert (activity.sent, activity.captured, activity.failed, activity.ended) == (5, 1, 2, 8)
    assert activity.failure_rate == 0.25
