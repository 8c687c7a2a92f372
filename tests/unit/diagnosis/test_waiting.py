"""Emails that wait for a worker: what keeps them, by the evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mailctl.broker.messages import MessageSearchResult
from mailctl.delivery_log.pauses import PauseScope
from mailctl.diagnosis.models import Certainty, SilentWorker
from mailctl.domain.models import CeleryResult
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from tests.emails import NOW
from tests.unit.diagnosis.samples import (
    EMAIL,
    NOT_FOUND,
    PAUSE,
    PENDING,
    causes,
    event,
    failed,
    names,
    place,
)
from tests.workers import worker


def test_a_pause_of_something_else_does_not_matter() -> None:
    """It has a scope and a name."""
    assert "paused" not in names(EMAIL, pauses=(replace(PAUSE, scope=PauseScope.QUEUE),), search=place(0))


def test_workers_of_others_count_where_messages_are_on_the_broker() -> None:
    """Not where somebody has to publish first."""
    theirs = {"celery@other": ("celery",)}
    assert "no_worker" not in names(EMAIL, workers=(), consumers=theirs, search=place(0))
    assert names(PENDING, workers=(), consumers=theirs)[0] == "no_worker"
    assert names(EMAIL, workers=(), consumers={}, search=place(0))[0] == "no_worker"


def test_a_worker_without_the_task_discards_the_message() -> None:
    """Unless its message still waits; nothing else explains why it is gone."""
    theirs = {"celery@other": ("celery",)}
    found = {"workers": (), "consumers": theirs, "discarding": ("celery@other",)}
    [first, *_] = causes(EMAIL, search=NOT_FOUND, **found)
    assert (first.name, "celery@other" in first.sentence) == ("unregistered_task", True)
    assert "unregistered_task" in names(PENDING, search=NOT_FOUND, **found)
    assert "unregistered_task" not in names(EMAIL, search=place(0), **found)


def test_a_queue_of_its_own_needs_a_worker_that_takes_it() -> None:
    """The next step says how."""
    [first, *_] = causes(replace(EMAIL, queue="reports"), workers=(), is_usual_queue=False)
    assert str(first.next_step) == "mailctl worker -Q reports"


def test_a_next_step_can_be_copied_whatever_the_name() -> None:
    """Queues are named by other programs; a shell must not run what is in their names."""
    [first, *_] = causes(replace(EMAIL, queue="x; rm -rf ~"), is_usual_queue=False)
    assert str(first.next_step) == "mailctl worker -Q 'x; rm -rf ~'"


def test_a_queue_that_no_option_can_name_has_no_next_step() -> None:
    """Names of queues are given with commas between them."""
    [first, *_] = causes(replace(EMAIL, queue="a,b"), is_usual_queue=False)
    assert (first.name, first.next_step) == ("wrong_queue", None)


def test_the_position_has_an_expected_wait() -> None:
    """By what has left the queue lately."""
    [first] = causes(EMAIL, search=place(12), attempts_per_minute=6.0)
    assert first.name == "in_line"
    assert first.sentence == (
        "queued 3 min ago; 12 messages are ahead of it in queue 'celery', about 2 min at 6 a minute"
    )
    assert names(EMAIL, emails_ahead=3, is_in_memory=True) == ["in_line"]


def test_a_queue_that_has_stalled_names_no_time() -> None:
    """Nothing has left it for a while, whatever left it before that."""
    [first] = causes(EMAIL, search=place(93), attempts_per_minute=324.0, stalled_for=timedelta(seconds=20))
    assert first.sentence.endswith("ahead of it in queue 'celery'; none was sent in the last 20 s")


def test_what_the_mail_server_allows_explains_the_wait() -> None:
    """A learned limit is why a queue moves slowly."""
    limit = "server default takes 3 sessions at a time, as far as is known: 421 too many."
    [first] = causes(EMAIL, search=place(12), attempts_per_minute=6.0, learned_limits=(limit,))
    assert first.sentence.endswith(f"about 2 min at 6 a minute; {limit.rstrip('.')}")


def test_why_a_worker_has_left_an_email_to_others_is_said() -> None:
    """Until a relay has published it again."""
    why = "other processes have all sessions that the mail server allows"
    left = event(State.PENDING, why, code=ReasonCode.NOT_STARTED)
    [first] = causes(PENDING, left, emails_ahead=3, search=NOT_FOUND)
    assert first.sentence.endswith(f"; none was sent recently; {why}")
    [next_one] = causes(PENDING, left, search=NOT_FOUND)
    assert (next_one.name, next_one.sentence.endswith(f"; {why}")) == ("on_its_way", True)
    [again] = causes(PENDING, left, event(State.QUEUED, "published"), search=NOT_FOUND)
    assert why not in again.sentence


def test_the_position_in_a_group_is_one_among_emails() -> None:
    """The messages before it are groups, each of many emails."""
    email = replace(EMAIL, is_grouped=True)
    [first] = causes(email, search=place(3), emails_ahead=152, attempts_per_minute=76.0)
    assert first.sentence == (
        "queued 3 min ago; 152 emails are ahead of it in queue 'celery', about 2 min at 76 a minute"
    )


def test_a_message_that_is_nowhere_was_lost() -> None:
    """Unless it is on its way, or not everything could be looked through."""
    [first] = causes(EMAIL, search=NOT_FOUND)
    assert first.name == "broker_lost"
    assert "will publish it again by 2026-03-01 12:00:05 UTC" in first.sentence
    fresh = replace(EMAIL, queued_at=NOW - timedelta(seconds=2))
    assert names(fresh, search=NOT_FOUND) == ["on_its_way"]
    assert names(EMAIL, search=MessageSearchResult(position=None, is_complete=False)) == ["on_its_way"]


def test_a_worker_with_another_log_may_have_sent_it() -> None:
    """Only its Celery result shows that; no relay publishes it again."""
    result = CeleryResult(state="SUCCESS", text="", value={"email_id": EMAIL.id, "state": "sent"})
    [only] = causes(EMAIL, workers=(), consumers={"w@b": ("celery",)}, search=NOT_FOUND, result=result)
    assert only.name == "sent_elsewhere"
    assert only.sentence.endswith("has taken it: its Celery result says 'sent'")
    unknown = replace(result, value=None, state="STARTED")
    assert "sent_elsewhere" not in names(EMAIL, workers=(), search=NOT_FOUND, result=unknown)


@pytest.mark.parametrize("nodes", [{}, {"celery@other": ("reports",)}])
def test_a_worker_that_does_not_answer_may_consume_its_queue(nodes: dict[str, tuple[str, ...]]) -> None:
    """One without processes of its own answers nothing while it executes a task."""
    known: dict[str, Any] = {"workers": (), "consumers": nodes, "search": place(0)}
    [silent] = causes(EMAIL, **known, has_unresponsive_worker=True)
    assert (silent.certainty, "may be busy" in silent.sentence) == (Certainty.POSSIBLE, True)
    [first, *_] = causes(EMAIL, **known)
    assert (first.certainty, "no worker consumes queue" in first.sentence) == (Certainty.CERTAIN, True)


def test_a_worker_without_the_log_may_have_taken_a_whole_email() -> None:
    """No relay is said to publish it again in any case, not even while a worker holds its message."""
    email = replace(EMAIL, is_in_full=True)
    [first] = causes(email, search=NOT_FOUND)
    assert (first.name, first.certainty) == ("message_gone", Certainty.LIKELY)
    first, *_ = causes(email, search=NOT_FOUND, workers=())
    assert (first.name, str(first.next_step)) == ("message_gone", "mailctl worker")
    [first] = causes(email, search=place(None), lease=timedelta(minutes=5))
    assert (first.name, "publish it again" in first.sentence) == ("held_by_worker", False)


def test_a_worker_may_have_its_message() -> None:
    """And have died with it; then the log brings it back."""
    [first] = causes(EMAIL, search=place(None), lease=timedelta(minutes=5))
    assert (first.name, first.certainty) == ("held_by_worker", Certainty.LIKELY)
    assert "12:02:05" in first.sentence


def test_what_a_relay_cannot_publish_says_why() -> None:
    """Such as content that was sealed with another key."""
    assert names(failed(PENDING, ReasonCode.PUBLISHING_FAILED))[0] == "unpublishable"


@pytest.mark.parametrize("code", [ReasonCode.BROKER_LOST, ReasonCode.WORKER_LOST])
def test_what_goes_back_into_the_log_says_what_lost_it(code: ReasonCode) -> None:
    """By the code of its last event, however that is worded."""
    [first, *_] = causes(PENDING, event(State.PENDING, "it is gone", code=code))
    assert (first.name, first.sentence) == ("broker_lost", "it is gone; a relay will publish it again")
    assert names(PENDING, event(State.PENDING, "the broker lost its message")) == ["on_its_way"]


def test_nobody_knows_how_many_emails_of_own_tasks_are_ahead() -> None:
    """The log keeps those as queued whose tasks have run; what the broker shows is known."""
    own = replace(EMAIL, is_own_task=True)
    hidden = MessageSearchResult(position=None, is_complete=False)
    [cause] = causes(own, emails_ahead=2, search=hidden)
    assert (cause.name, "or has ended" in cause.sentence) == ("on_its_way", True)
    assert names(own, emails_ahead=2, search=place(2)) == ["in_line"]
    assert names(EMAIL, emails_ahead=2, search=hidden) == ["in_line"]


@pytest.mark.parametrize(("is_suspended", "step"), [(True, "kill -CONT 7"), (False, "mailctl worker")])
def test_a_worker_that_is_stopped_by_a_signal_is_continued_and_not_started_again(
    is_suspended: bool, step: str
) -> None:
    """Two would run as soon as somebody continues it."""
    silent = (SilentWorker(worker=worker(), is_suspended=is_suspended),)
    [first, *_] = causes(PENDING, workers=(), consumers={}, silent=silent, is_usual_queue=True)
    assert (first.name, str(first.next_step)) == ("no_worker", step)
    assert "celery@web" in first.sentence
    # It is still connected to the broker, and does not answer.
    [first, *_] = causes(
        EMAIL, workers=(), consumers={}, silent=silent, has_unresponsive_worker=True, search=place(0)
    )
    assert (first.certainty is Certainty.CERTAIN) is is_suspended
