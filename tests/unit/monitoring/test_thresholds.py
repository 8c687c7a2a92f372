"""The checks of `monitor`, from numbers to sentences."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mailctl.delivery_log.queries.queue_stats import QueueDepth
from mailctl.delivery_log.queries.stat_models import Activity, Totals
from mailctl.domain.states import State
from mailctl.monitoring.thresholds import Thresholds, check_age, check_depth, check_failures, check_feedback
from tests.emails import NOW

LIMITS = Thresholds(
    max_depth=10,
    max_age=timedelta(minutes=5),
    max_failure_rate=0.05,
    min_workers=1,
    max_bounced=0.05,
    max_complained=0.001,
    failure_window=timedelta(minutes=15),
)


@pytest.mark.parametrize(("depth", "ok"), [(10, True), (11, False)])
def test_the_deepest_queue_decides(depth: int, ok: bool) -> None:
    """The limit itself is allowed; emails that are not due do not count."""
    queues = [QueueDepth(queue="reports", pending=1), QueueDepth(queue="celery", queued=depth, deferred=99)]
    found = check_depth(queues, LIMITS)
    assert (found.value, found.ok) == (depth, ok)
    assert found.reason == f"queue 'celery' has a depth of {depth}; the limit is 10"


def test_without_queues_the_depth_is_zero() -> None:
    """The sentence names the queue that was asked for, if one was."""
    assert check_depth([], LIMITS).reason == "every queue has a depth of 0; the limit is 10"
    one = check_depth([], replace(LIMITS, queue="reports"))
    assert one.reason == "queue 'reports' has a depth of 0; the limit is 10"


@pytest.mark.parametrize(("minutes", "ok"), [(5, True), (6, False)])
def test_the_oldest_email_decides(minutes: int, ok: bool) -> None:
    """Of all queues; a queue where no email waits has no age."""
    queues = [
        QueueDepth(queue="celery", waiting_since=NOW - timedelta(minutes=minutes)),
        QueueDepth(queue="reports", waiting_since=NOW - timedelta(minutes=1)),
        QueueDepth(queue="idle"),
    ]
    found = check_age(queues, LIMITS, now=NOW)
    assert (found.value, found.ok) == (minutes * 60.0, ok)
    assert found.reason == (
        f"the oldest email in queue 'celery' has waited {minutes} min; the limit is 5 min"
    )


def test_without_a_waiting_email_the_age_is_zero() -> None:
    """That is no trouble."""
    found = check_age([QueueDepth(queue="idle")], LIMITS, now=NOW)
    assert (found.value, found.ok, found.reason) == (0.0, True, "no email is waiting")


@pytest.mark.parametrize(("failed", "ok"), [(1, True), (2, False)])
def test_the_failure_rate_is_that_of_finished_emails(failed: int, ok: bool) -> None:
    """Deferred ones are not finished."""
    entered = {State.SENT: 20 - failed, State.FAILED: failed, State.DEFERRED: 50}
    found = check_failures(Activity(recorded=70, entered=entered), LIMITS)
    assert (found.value, found.ok) == (failed / 20, ok)
    assert found.reason.startswith(f"{failed} of 20 sends that ended in the last 15 min failed (")


def test_without_finished_emails_there_is_no_failure_rate() -> None:
    """That is no trouble either."""
    found = check_failures(Activity(recorded=1, entered={}), LIMITS)
    assert (found.value, found.ok) == (None, True)


def test_bounces_and_complaints_are_shares_of_the_accepted_emails() -> None:
    """Delivered ones, and those of which nothing was heard, are accepted, too."""
    states = {State.SENT: 800, State.DELIVERED: 100, State.BOUNCED: 99, State.COMPLAINED: 1}
    bounced, complained = check_feedback(Totals(states=states), LIMITS)
    assert (bounced.value, bounced.ok, complained.value, complained.ok) == (0.099, False, 0.001, True)
    assert bounced.reason == (
        "99 of 1000 emails accepted in the last 24 h bounced (9.90%); the limit is 5.00%"
    )


def test_few_emails_have_no_rate() -> None:
    """One complaint about ten emails is no trend."""
    for check in check_feedback(Totals(states={State.SENT: 9, State.COMPLAINED: 1}), LIMITS):
        assert (check.value, check.ok) == (None, True)
