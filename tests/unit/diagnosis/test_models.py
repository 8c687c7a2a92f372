"""The values of a diagnosis."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mailctl.diagnosis.models import Case, Cause, Certainty, Diagnosis, Evidence, UnknownId
from mailctl.domain.eligibility import RELEASE, AvailableAction, Hazard
from mailctl.domain.models import CeleryResult, Event
from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.states import State
from tests.emails import NOW, email
from tests.workers import worker

UNKNOWN = UnknownId(task_id="e1", log="sqlite://", is_log_empty=True, relative_home=None)
CAUSE = Cause(name="paused", sentence="it is paused")


def case(state: State = State.PENDING, evidence: Evidence | None = None, *events: Event) -> Case:
    """Return the case of an email in a state."""
    return Case(email=email(state), events=events, evidence=evidence or Evidence(), now=NOW)


def event(state: State, text: str) -> Event:
    """Return an event."""
    return Event(at=NOW, state=state, attempt=1, worker=None, code=None, text=text, actor=None)


def action(name: str, *hazards: Hazard) -> AvailableAction:
    """Return an available action with its command."""
    return AvailableAction(
        action=name, description=name, command=mailctl_command(name), hazards=frozenset(hazards)
    )


@pytest.mark.parametrize(
    ("certainty", "limit", "expected"),
    [
        (Certainty.CERTAIN, Certainty.POSSIBLE, Certainty.POSSIBLE),
        (Certainty.POSSIBLE, Certainty.LIKELY, Certainty.POSSIBLE),
        (Certainty.LIKELY, Certainty.LIKELY, Certainty.LIKELY),
    ],
)
def test_a_limit_never_makes_a_cause_more_certain(
    certainty: Certainty, limit: Certainty, expected: Certainty
) -> None:
    """It only weakens it."""
    assert replace(CAUSE, certainty=certainty).with_certainty_at_most(limit).certainty is expected


def test_workers_of_the_log_and_of_the_broker_are_merged() -> None:
    """The heartbeat in the log is the more reliable source."""
    evidence = Evidence(workers=(worker(),), consumers={"celery@web": ("old",), "celery@other": ("reports",)})
    assert evidence.queues_by_worker == {"celery@web": ("celery",), "celery@other": ("reports",)}
    assert [evidence.consumes(queue) for queue in ("celery", "reports", "old")] == [True, True, False]


def test_an_empty_answer_of_the_broker_is_no_living_worker() -> None:
    """Neither is a broker that was not asked."""
    assert not Evidence(consumers={}).has_living_worker
    assert not Evidence().has_living_worker
    assert Evidence(consumers={"celery@other": ()}).has_living_worker


def test_an_email_is_sent_again_with_the_fewest_hazards() -> None:
    """Actions that do not send it do not count."""
    evidence = Evidence(
        available_actions=(action("hold"), action("retry", Hazard.PERMANENT), action("resend"))
    )
    assert str(case(evidence=evidence).command_to_send_again()) == "mailctl resend"
    assert case().command_to_send_again() is None


def test_an_action_has_a_command_if_it_is_available() -> None:
    """Only then."""
    assert str(case(evidence=Evidence(available_actions=(action("release"),))).command_for(RELEASE)) == (
        "mailctl release"
    )
    assert case().command_for(RELEASE) is None


def test_the_latest_event_of_a_state_counts() -> None:
    """Whatever followed it."""
    events = (event(State.DEFERRED, "first"), event(State.DEFERRED, "second"), event(State.HELD, "held"))
    found = case(State.HELD, None, *events)
    assert found.last_event(State.DEFERRED) is events[1]
    assert found.last_event(State.SENT) is None


@pytest.mark.parametrize(("seconds", "waits"), [(1, True), (0, False), (-1, False)])
def test_an_email_waits_for_a_time_in_the_future(seconds: int, waits: bool) -> None:
    """Not for one that has come."""
    waiting = email(not_before=NOW + timedelta(seconds=seconds))
    assert replace(case(), email=waiting).is_waiting_for_time is waits


@pytest.mark.parametrize(
    ("state", "has_failed"),
    [
        (State.SENT, False),
        (State.HELD, False),
        (State.UNCONFIRMED, False),
        (State.FAILED, True),
        (State.CANCELLED, True),
    ],
)
def test_an_email_of_the_log_is_known(state: State, has_failed: bool) -> None:
    """It has failed if it is finished without having been sent."""
    diagnosis = Diagnosis(task_id="e1", state=state, causes=(CAUSE,), log="", case=case(state))
    assert (diagnosis.is_known, diagnosis.has_failed) == (True, has_failed)


@pytest.mark.parametrize(
    ("unknown", "is_known", "has_failed"),
    [
        (UNKNOWN, False, False),
        (replace(UNKNOWN, result=CeleryResult(state="FAILURE", text="no")), True, True),
        (replace(UNKNOWN, result=CeleryResult(state="SUCCESS", text="")), True, False),
        (replace(UNKNOWN, other_homes=(Path("/srv"),)), True, False),
    ],
)
def test_an_id_may_be_known_elsewhere(unknown: UnknownId, is_known: bool, has_failed: bool) -> None:
    """To Celery, or to another log."""
    diagnosis = Diagnosis(task_id="e1", state=None, causes=(CAUSE,), log="", unknown=unknown)
    assert (diagnosis.is_known, diagnosis.has_failed) == (is_known, has_failed)
