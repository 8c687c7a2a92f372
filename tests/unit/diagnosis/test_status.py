"""The status of emails, as an exit code."""

from __future__ import annotations

from typing import Any

import pytest

from mailctl.diagnosis.status import EmailStatus, raise_for_unsent
from mailctl.domain.models import CeleryResult
from mailctl.domain.states import State
from mailctl.errors import EmailFailed, EmailUnconfirmed, StillPending
from tests.emails import email


def status(state: State | None, **more: Any) -> EmailStatus:
    """Return the status of an email in a state; None for a task that only Celery knows."""
    values: dict[str, Any] = {
        "task_id": "e1",
        "email": None if state is None else email(state),
        "state": state,
        "events": (),
        "group": (),
        "celery": None,
        "explanation": "it is so",
    }
    return EmailStatus(**values | more)


def test_sent_and_captured_emails_are_no_error() -> None:
    """Neither is a task that Celery reports as successful."""
    done = CeleryResult(state="SUCCESS", text="")
    raise_for_unsent([status(State.SENT), status(State.CAPTURED), status(None, celery=done)])


def test_a_failure_comes_before_a_pending_email() -> None:
    """Whatever their order; the message has the explanation."""
    with pytest.raises(EmailFailed, match=r"Email e1 failed: it is so\."):
        raise_for_unsent([status(State.DEFERRED), status(State.FAILED)])


def test_an_unconfirmed_email_is_neither_sent_nor_failed() -> None:
    """It has an exit code of its own, so that scripts neither go on nor send it again."""
    unconfirmed = status(State.UNCONFIRMED)
    assert not unconfirmed.has_failed
    with pytest.raises(EmailUnconfirmed, match=r"Email e1 is unconfirmed: it is so\."):
        raise_for_unsent([status(State.SENT), unconfirmed])
    with pytest.raises(EmailFailed):
        raise_for_unsent([unconfirmed, status(State.FAILED)])
    with pytest.raises(StillPending):
        raise_for_unsent([unconfirmed, status(State.QUEUED)])


def test_an_unfinished_email_is_still_pending() -> None:
    """The fix asks again."""
    with pytest.raises(StillPending, match=r"Email e1 is deferred: it is so\.") as caught:
        raise_for_unsent([status(State.SENT), status(State.DEFERRED)])
    assert caught.value.fix == "Check again: mailctl status e1"


@pytest.mark.parametrize(
    ("state", "celery_state", "has_failed"),
    [
        (State.FAILED, "SUCCESS", True),
        (State.CANCELLED, "SUCCESS", True),
        (State.SENT, "FAILURE", False),
        (State.PENDING, "FAILURE", False),
        (None, "FAILURE", True),
        (None, "PENDING", False),
    ],
)
def test_the_log_decides_before_celery(state: State | None, celery_state: str, has_failed: bool) -> None:
    """Celery is asked only about a task that the log does not have."""
    celery = CeleryResult(state=celery_state, text="")
    assert status(state, celery=celery).has_failed is has_failed
