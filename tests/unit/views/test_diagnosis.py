"""Diagnoses as JSON: the causes, and the facts behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailctl.broker.messages import CeleryMessage, MessagePosition, MessageSearchResult
from mailctl.diagnosis.models import Case, Cause, Certainty, Diagnosis, Evidence, UnknownId
from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.states import State
from mailctl.views.diagnosis import DiagnosisView, FactsView
from tests.emails import NOW, email

NOT_FOUND = MessageSearchResult(position=None, is_complete=True)
MESSAGE = CeleryMessage(
    task_id="e1", task="t", queue="celery", email_ids=("e1",), to=None, is_from_mailctl=True
)


def found(ahead: int | None) -> MessageSearchResult:
    """Return the result of a search that has found the message."""
    position = MessagePosition(queue="celery", ahead=ahead, message=MESSAGE)
    return MessageSearchResult(position=position, is_complete=True)


def diagnosis(state: State = State.QUEUED, **evidence: Any) -> Diagnosis:
    """Return the diagnosis of an email in a state."""
    case = Case(email=email(state), events=(), evidence=Evidence(**evidence), now=NOW)
    cause = Cause(name="no_worker", sentence="no worker is alive", next_step=mailctl_command("worker"))
    return Diagnosis(task_id="e1", state=state, causes=(cause,), log="sqlite:///x.db", case=case)


def unknown_id(**more: Any) -> Diagnosis:
    """Return the diagnosis of an id that the log does not know."""
    unknown = UnknownId(task_id="ffff", log="sqlite:///x.db", is_log_empty=True, relative_home=None, **more)
    cause = Cause(name="never_recorded", sentence="nobody knows it", certainty=Certainty.LIKELY)
    return Diagnosis(task_id="ffff", state=None, causes=(cause,), log="sqlite:///x.db", unknown=unknown)


def test_a_cause_has_its_command() -> None:
    """The next step is a line to copy; null if there is none."""
    [known] = DiagnosisView.of(diagnosis()).as_json()["causes"]
    assert (known["cause"], known["next_step"], known["certainty"]) == (
        "no_worker",
        "mailctl worker",
        "certain",
    )
    [unknown] = DiagnosisView.of(unknown_id()).as_json()["causes"]
    assert (unknown["next_step"], unknown["certainty"]) == (None, "likely")


@pytest.mark.parametrize(
    ("evidence", "broker", "position"),
    [
        ({}, None, None),
        ({"is_in_memory": True}, "in memory", None),
        ({"broker_error": "refused"}, "refused", None),
        ({"search": NOT_FOUND}, "answers", "not found"),
        ({"search": found(None)}, "answers", "with a worker"),
        ({"search": found(0)}, "answers", "number 1"),
    ],
)
def test_the_broker_is_described(evidence: dict[str, Any], broker: str | None, position: str | None) -> None:
    """Whether it answers, and where the message is; null if nobody looked."""
    facts = FactsView.of(diagnosis(**evidence))
    assert (facts.broker, facts.on_broker) == (broker, position)


def test_a_rate_says_nothing_without_emails_ahead() -> None:
    """It is there to tell how long they will take."""
    ahead = FactsView.of(diagnosis(emails_ahead=3, attempts_per_minute=1.2345))
    first = FactsView.of(diagnosis(emails_ahead=0, attempts_per_minute=1.2345))
    assert [ahead.out_per_minute, first.out_per_minute] == [1.23, None]


def test_workers_do_not_matter_to_a_finished_email() -> None:
    """They are null then; without any they are empty."""
    facts = [FactsView.of(diagnosis(state)) for state in (State.FAILED, State.QUEUED)]
    assert [each.workers for each in facts] == [None, {}]


def test_an_unknown_id_has_the_facts_of_the_search() -> None:
    """Those of an email are null."""
    facts = FactsView.of(unknown_id(other_homes=(Path("/srv/mail"),), search=found(4))).as_json()
    assert {name: value for name, value in facts.items() if value is not None} == {
        "log": "sqlite:///x.db",
        "log_is_empty": True,
        "other_homes": ["/srv/mail"],
        "broker": "answers",
        "on_broker": "number 5",
    }


def test_a_log_that_does_not_exist_is_not_called_empty() -> None:
    """Nobody has read it."""
    facts = DiagnosisView.of(unknown_id(is_log_missing=True)).as_json()["facts"]
    assert facts.get("log_is_empty") is None
