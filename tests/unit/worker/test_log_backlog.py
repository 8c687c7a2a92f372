"""Which emails are left to the log, and taken from there."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.delivery_log.due import GroupableEmails
from mailctl.domain.routing import DEFAULT_SERVER
from mailctl.enqueue.grouping import MAX_SINGLE_EMAILS
from mailctl.settings import GROUPS_QUEUE
from mailctl.worker.log_backlog import LogBacklog, SlowStreak
from tests.unit.worker.fakes import Calls, parts

GROUPS, OTHER = ("celery", GROUPS_QUEUE), ("reports",)


def backlog(
    *queues: tuple[str, ...], sessions: int | None = 0, messages: str = "auto", rate: float | None = None
) -> LogBacklog:
    """Return the backlog of a log whose workers consume these queues, while all sessions are in use.

    Args:
        sessions: how many this process may have, of 4; None for a process that sends nothing.
        messages: MAILCTL_MESSAGES.
        rate: that of the mail server in the settings.
    """
    runtime = parts(
        app=SimpleNamespace(tasks={}),
        publications=Calls(find_due=[["a"]]),
        settings=SimpleNamespace(mailctl_messages=messages),
        workers=Calls(list_alive=[[SimpleNamespace(queues=each) for each in queues]]),
    )
    runtime.mail_servers.by_name = {DEFAULT_SERVER: SimpleNamespace(connections=4, rate=rate)}
    found = LogBacklog(runtime, capacity=None if sessions is None else lambda _: sessions)
    found._shares = Calls(are_all_in_use=True)  # type: ignore[assignment]
    found._is_rate_learned = lambda: False  # type: ignore[method-assign]
    return found


@pytest.mark.parametrize(
    ("queues", "sessions", "expected"),
    [
        ([GROUPS], 0, True),
        ([GROUPS], 3, True),
        ([GROUPS], None, True),
        ([GROUPS], 4, False),
        ([GROUPS, OTHER], 0, False),
    ],
)
def test_sessions_are_in_use_if_their_processes_take_these_emails(
    queues: Any, sessions: int | None, expected: bool
) -> None:
    """Which all workers must do; a process that has as many as it wants does not ask the log."""
    found = backlog(*queues, sessions=sessions)
    assert found.are_sessions_in_use() is found.may_take() is expected
    assert found._shares.names == ["are_all_in_use"] * expected


def test_emails_are_found_that_may_travel_in_groups() -> None:
    """Not if messages carry whole emails, because other programs may send these."""
    found = backlog(GROUPS)
    assert found.find_waiting(limit=3) == ["a"]
    [(_, (groupable,), _)] = found._runtime.publications.calls
    assert groupable == GroupableEmails(queues=frozenset({"celery"}))
    assert backlog(GROUPS, messages="full").grouped_queues() == frozenset()


def test_emails_that_take_long_and_come_without_a_pause_are_a_streak() -> None:
    """One that does not, or a pause, ends it."""
    streak, ages = SlowStreak(), []
    for _ in range(MAX_SINGLE_EMAILS + 1):
        ages.append(streak.is_active)
        streak.end(streak.begin() - 1)
    assert ages == [False] * MAX_SINGLE_EMAILS + [True]
    streak.leave()
    streak.begin()
    assert streak.is_active
    streak.end(streak.begin())
    assert not streak.is_active


@pytest.mark.parametrize(
    ("rate", "is_learned", "expected"), [(None, False, True), (5.0, False, False), (None, True, False)]
)
def test_single_emails_that_wait_for_a_rate_are_not_slow(
    rate: float | None, is_learned: bool, expected: bool
) -> None:
    """They would wait for it in groups as well."""
    found = backlog(GROUPS, sessions=4, rate=rate)
    found._is_rate_learned = lambda: is_learned  # type: ignore[method-assign]
    assert not found.may_take()
    for _ in range(MAX_SINGLE_EMAILS):
        found.streak.end(found.streak.begin() - 1)
    assert found.are_single_emails_slow() is found.may_take() is expected


def test_a_process_without_a_session_leaves_its_emails_to_others() -> None:
    """Of those that others may take, which those in groups always are."""
    found = backlog(GROUPS)
    left = [bool(found.reason_to_leave(["default"], queue=each, has_room=bool)) for each in (*GROUPS, *OTHER)]
    assert left == [True, True, False]
    assert not backlog(GROUPS, sessions=1).reason_to_leave(["default"], queue="celery", has_room=bool)


@pytest.mark.parametrize(
    ("sessions", "has_room", "expected"), [(4, True, True), (4, False, False), (1, False, True)]
)
def test_single_emails_that_take_long_go_on_in_groups(sessions: int, has_room: bool, expected: bool) -> None:
    """If there is room for them, or relays leave them there; otherwise they would be published again."""
    found = backlog(GROUPS, sessions=sessions)
    for _ in range(MAX_SINGLE_EMAILS):
        found.streak.end(found.streak.begin() - 1)
    assert bool(found.reason_to_leave(["default"], queue="celery", has_room=lambda: has_room)) is expected
    assert not found.reason_to_leave(["default"], queue=GROUPS_QUEUE, has_room=lambda: has_room)


def test_a_pause_ends_a_streak() -> None:
    """Whoever waits for the next email, does not have many of them."""
    streak = SlowStreak()
    for _ in range(MAX_SINGLE_EMAILS + 1):
        streak.end(streak.begin() - 1)
    streak._ended_at = time.monotonic() - 1
    assert not streak.is_active
    streak.begin()
    streak.leave()
    assert not streak.is_active
