"""Pauses: what they stop, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.pauses import PARKED_FOR, Pause, Pauses, PauseScope
from tests.emails import NOW, email

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


def pause(scope: PauseScope, name: str) -> Pause:
    """Return a pause."""
    return Pause(scope=scope, name=name, reason="", actor="ada", since=NOW)


@pytest.mark.parametrize(
    ("scope", "name", "expected"),
    [
        (PauseScope.QUEUE, "celery", True),
        (PauseScope.QUEUE, "welcome", False),
        (PauseScope.KIND, "welcome", True),
        (PauseScope.KIND, "celery", False),
        (PauseScope.CAMPAIGN, "spring", True),
        (PauseScope.CAMPAIGN, "welcome", False),
    ],
)
def test_a_pause_covers_a_queue_a_kind_or_a_campaign(scope: PauseScope, name: str, expected: bool) -> None:
    """Not both that have its name."""
    assert pause(scope, name).covers(email(campaign="spring")) is expected


@pytest.mark.parametrize(
    ("scope", "command"),
    [
        (PauseScope.QUEUE, "mailctl queue resume x"),
        (PauseScope.KIND, "mailctl queue resume --kind x"),
        (PauseScope.CAMPAIGN, "mailctl campaign resume x"),
    ],
)
def test_a_pause_names_the_command_that_ends_it(scope: PauseScope, command: str) -> None:
    """As it is typed."""
    assert str(pause(scope, "x").resume_command) == command


def test_a_second_pause_changes_nothing(log: Log) -> None:
    """The first one keeps its actor."""
    pauses = Pauses(log.engine, clock=log.time)
    assert pauses.pause(PauseScope.QUEUE, "celery", actor="ada", reason="")
    assert not pauses.pause(PauseScope.QUEUE, "celery", actor="zoe", reason="")
    assert [each.actor for each in pauses.read()] == ["ada"]


def test_paused_emails_are_due_again_when_they_are_resumed(log: Log) -> None:
    """Until then they are out of the way of relays."""
    pauses = Pauses(log.engine, clock=log.time)
    email_id = log.add()
    pauses.pause(PauseScope.QUEUE, "celery", actor="ada", reason="")
    pauses.park()
    assert log.email(email_id).due_at == log.now + PARKED_FOR
    assert pauses.resume(PauseScope.QUEUE, "celery")
    assert log.email(email_id).due_at == log.now
    assert not pauses.resume(PauseScope.QUEUE, "celery")
