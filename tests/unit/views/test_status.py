"""The status of an email as JSON."""

from __future__ import annotations

from dataclasses import replace

from mailctl.diagnosis.status import EmailStatus
from mailctl.domain.models import CeleryResult, Event
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.views.emails import EmailView
from mailctl.views.status import StatusView
from tests.emails import NOW, email

EMAIL = email(State.FAILED, error="550 5.1.1 no such user")
EVENT = Event(
    at=NOW,
    state=State.FAILED,
    attempt=1,
    worker="w",
    code=550,
    text="refused",
    reason_code=ReasonCode.REFUSED,
    stage="rcpt",
)
STATUS = EmailStatus(
    task_id="e1",
    email=EMAIL,
    state=State.FAILED,
    events=(EVENT,),
    group=(email(id="e2"),),
    celery=None,
    explanation="the mail server refused it",
)


def test_the_fields_of_the_email_are_there_twice() -> None:
    """At the top for the command, and in `email` for the API."""
    printed = StatusView.of(STATUS).as_json()
    fields = EmailView.of(EMAIL).as_json()
    assert printed["email"] == fields
    assert printed.items() >= fields.items()


def test_events_and_the_rest_of_the_call_follow() -> None:
    """Others of the same call are there by their ids."""
    printed = StatusView.of(STATUS).as_json()
    assert (printed["group"], printed["celery_state"]) == (["e2"], None)
    assert printed["events"] == [
        {
            "at": "2026-03-01T12:00:00Z",
            "state": "failed",
            "attempt": 1,
            "worker": "w",
            "code": 550,
            "text": "refused",
            "actor": None,
            "reason_code": "refused",
            "stage": "rcpt",
        }
    ]


def test_a_task_that_only_celery_knows_has_no_email() -> None:
    """Its error is that of Celery; an empty one is null."""
    unknown = replace(STATUS, email=None, state=None, events=(), group=())
    failed = replace(unknown, celery=CeleryResult(state="FAILURE", text="ValueError: no"))
    started = replace(unknown, celery=CeleryResult(state="STARTED", text=""))
    views = [StatusView.of(failed), StatusView.of(started)]
    assert [(view.celery_state, view.error) for view in views] == [
        ("FAILURE", "ValueError: no"),
        ("STARTED", None),
    ]
    assert [view.email for view in views] == [None, None]


def test_an_unknown_id_has_the_same_keys() -> None:
    """Programs that ask for several ids read every line in the same way."""
    unknown = StatusView.of_unknown("ffff", "Nobody knows ffff.").as_json()
    assert list(unknown) == list(StatusView.of(STATUS).as_json())
    known = {name: value for name, value in unknown.items() if value}
    assert known == {"task_id": "ffff", "error": "Nobody knows ffff.", "explanation": "Nobody knows ffff."}
