"""What values derive from their fields."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from datetime import timedelta

import pytest

from mailctl.domain.models import Content, Event, User, copy_with
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import (
    FINAL_STATES,
    State,
)
from tests.emails import NOW, email

EMAIL = email(expires_at=None)


@pytest.mark.parametrize("state", State)
def test_an_email_knows_whether_it_is_final(state: State) -> None:
    """As its state says."""
    assert replace(EMAIL, state=state).is_final is (state in FINAL_STATES)


@pytest.mark.parametrize("state", State)
def test_only_a_waiting_email_has_a_next_attempt(state: State) -> None:
    """It is pending or deferred, with a time."""
    later = NOW + timedelta(minutes=5)
    email = replace(EMAIL, state=state, not_before=later)
    assert email.next_attempt_at == (later if state in (State.PENDING, State.DEFERRED) else None)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (SmtpReply(code=550, enhanced="5.1.1", text="No such user"), "550 5.1.1 No such user"),
        (SmtpReply(code=421), "421"),
        (SmtpReply(text="Connection refused"), "Connection refused"),
        (SmtpReply(), "deferred"),
    ],
)
def test_an_outcome_is_shown_as_the_reply(reply: SmtpReply, text: str) -> None:
    """Code, enhanced status code and text, or at least its kind."""
    assert str(Outcome(kind=OutcomeKind.DEFERRED, reply=reply)) == text


def test_a_copy_differs_in_the_changed_fields_alone() -> None:
    """It is what `dataclasses.replace` returns, and the value itself stays as it is."""
    changed = copy_with(EMAIL, state=State.SENT, queue="other")
    assert changed == replace(EMAIL, state=State.SENT, queue="other")
    assert (changed == EMAIL, email(expires_at=None) == EMAIL) == (False, True)


def test_values_are_frozen() -> None:
    """A change is a new value."""
    with pytest.raises(FrozenInstanceError):
        EMAIL.state = State.SENT


def test_contents_do_not_share_mappings() -> None:
    """Not even by default."""
    one, other = Content(user=User(email="a@example.com")), Content(user=User(email="a@example.com"))
    assert one == other
    assert one.context is not other.context


def test_an_email_is_scheduled_until_something_else_delays_it() -> None:
    """A later attempt has a time as well, but nobody chose it."""
    later = NOW + timedelta(hours=2)
    scheduled = replace(EMAIL, state=State.PENDING, attempts=0, not_before=later)
    assert scheduled.scheduled_for == later
    for delayed in (
        replace(scheduled, state=State.DEFERRED),
        replace(scheduled, attempts=1),
        replace(scheduled, reason_code=ReasonCode.MAIL_SERVER_DOWN),
    ):
        assert delayed.scheduled_for is None


def test_an_event_says_who_did_it() -> None:
    """An operator, or the worker that claimed the email; nothing stands for a missing text."""
    event = Event(at=NOW, state=State.SENDING, attempt=1, worker="w@h", code=None, text="")
    assert event.summary == "by w@h"
    assert replace(event, state=State.SENT, text="250 ok").summary == "250 ok"
    assert replace(event, state=State.HELD, text="held", actor="ada").summary == "held (by ada)"
