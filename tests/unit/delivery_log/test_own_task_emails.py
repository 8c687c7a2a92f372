"""Emails of the service's own tasks: the outcome in a result is recorded; an unknown one is held."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.own_task_emails import OwnTaskEmails
from mailctl.domain.models import CeleryResult
from mailctl.domain.own_tasks import outcome_of_error, outcome_of_result, outcome_of_value
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


@pytest.fixture
def own(log: Log) -> OwnTaskEmails:
    """The emails of the service's own tasks in the log."""
    return OwnTaskEmails(log.engine, clock=lambda: log.now)


def publish(log: Log, worker_id: str | None = None) -> str:
    """Record an email and publish it for a task of the service."""
    email_id = log.add()
    log.publications.mark_queued([email_id], worker_id=worker_id, is_own_task=True)
    return email_id


def test_a_failure_keeps_the_content_so_that_it_can_be_retried(log: Log, own: OwnTaskEmails) -> None:
    """The email has the reason, and its event too."""
    email_id = publish(log)
    assert own.finish(email_id, outcome_of_value(False, task="t"))
    email = log.email(email_id)
    assert (email.state, email.reason_code, email.attempts) == (State.FAILED, ReasonCode.OWN_TASK_FAILED, 1)
    assert log.last_event(email_id).reason_code is ReasonCode.OWN_TASK_FAILED
    assert log.outbox.content(email_id) is not None
    assert not log.maybe_sent(email_id)


def test_what_proves_nothing_is_unconfirmed(log: Log, own: OwnTaskEmails) -> None:
    """It was not sent at any known time, and keeps its content."""
    email_id = publish(log)
    assert own.finish(email_id, outcome_of_value(True, task="t"))
    email = log.email(email_id)
    assert (email.state, email.reason_code) == (State.UNCONFIRMED, ReasonCode.OWN_TASK_UNCONFIRMED)
    assert email.sent_at is None
    assert log.outbox.content(email_id) is not None


def test_what_is_sent_was_sent_when_the_task_finished(log: Log, own: OwnTaskEmails) -> None:
    """Not when somebody asked; where that is not known, the time is not known."""
    finished = log.now - timedelta(minutes=5)
    result = CeleryResult(state="SUCCESS", text="", value="250 ok", finished_at=finished)
    for at in (finished, None):
        email_id = publish(log)
        stored = CeleryResult(state="SUCCESS", text="", value=result.value, finished_at=at)
        outcome = outcome_of_result(stored, task="t", translate=lambda *_: "sent")
        assert outcome is not None
        assert own.finish(email_id, outcome)
        assert (log.email(email_id).state, log.email(email_id).sent_at) == (State.SENT, at)
        assert log.outbox.content(email_id) is None


def test_an_interrupted_task_may_have_sent_it(log: Log, own: OwnTaskEmails) -> None:
    """So nobody says that it failed, and a retry has to be confirmed; asking again changes nothing."""
    email_id = publish(log)
    interrupted = outcome_of_error("WorkerLostError", "signal 9")
    assert own.finish(email_id, interrupted)
    assert not own.finish(email_id, interrupted)
    assert (log.email(email_id).state, log.maybe_sent(email_id)) == (State.HELD, True)
    assert "WorkerLostError: signal 9" in (log.email(email_id).error or "")


def test_what_such_a_task_may_have_sent_does_not_expire_as_unsent(log: Log, own: OwnTaskEmails) -> None:
    """Only the watch, which looks for its result and its message first, says that it is too late."""
    own_task, in_full = publish(log), log.add()
    log.publications.mark_in_full([in_full])
    for each in (own_task, in_full):
        log.change(each, expires_at=log.now - timedelta(hours=1))
    assert log.recovery.expire() == 0
    own.expire([own_task, in_full], sender="it")
    for each in (own_task, in_full):
        assert (log.email(each).state, log.maybe_sent(each)) == (State.EXPIRED, True)


def test_an_email_that_has_ended_is_left_alone(log: Log, own: OwnTaskEmails) -> None:
    """The first evidence counts."""
    email_id = publish(log)
    assert own.finish(email_id, outcome_of_value(True, task="t"))
    assert not own.finish(email_id, outcome_of_value(False, task="t"))


def test_an_unknown_email_is_held_and_a_late_result_still_counts(log: Log, own: OwnTaskEmails) -> None:
    """Held emails are looked at again for a while."""
    email_id = publish(log)
    assert own.hold_unknown([email_id], why="the app ignores results") == 1
    email = log.email(email_id)
    assert (email.state, email.reason_code) == (State.HELD, ReasonCode.OWN_TASK_UNKNOWN)
    assert "the app ignores results" in (email.error or "")
    assert log.maybe_sent(email_id)
    hour_ago = log.now - timedelta(hours=1)
    assert [each.id for each in own.held_as_unknown(since=hour_ago, limit=9)] == [email_id]
    assert own.finish(email_id, outcome_of_value(False, task="t"))
    assert log.email(email_id).state is State.FAILED


def test_an_email_that_an_operator_holds_does_not_end_by_itself(log: Log, own: OwnTaskEmails) -> None:
    """Only what was held as unknown does."""
    email_id = publish(log)
    log.change(email_id, state=State.HELD, reason_code=ReasonCode.STOPPED)
    assert not own.finish(email_id, outcome_of_value(True, task="t"))


def test_published_emails_are_found_where_their_messages_are(log: Log, own: OwnTaskEmails) -> None:
    """On a broker, or in the memory of one worker; emails of mailctl's own tasks are not among them."""
    on_broker, in_memory = publish(log), publish(log, worker_id="w-1")
    log.queue()
    assert [each.id for each in own.published(limit=9)] == [on_broker]
    assert [each.id for each in own.published(limit=9, worker_id="w-1")] == [in_memory]
    assert own.published(limit=9, worker_id="w-2") == []


def test_emails_that_another_version_published_are_marked(log: Log, own: OwnTaskEmails) -> None:
    """By their kind; others stay as they are."""
    email_id = log.queue()
    assert own.mark_as_own(["invoice"]) == 0
    assert own.mark_as_own([log.email(email_id).kind]) == 1
    assert log.email(email_id).is_own_task
