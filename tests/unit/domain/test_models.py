"""States and their transitions, and what values say about themselves."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from datetime import timedelta

import pytest

from mailctl.domain.models import (
    CLAIMABLE_STATES,
    DELIVERED_STATES,
    FINAL_STATES,
    TRANSITIONS,
    Content,
    Outcome,
    OutcomeKind,
    SmtpReply,
    State,
    User,
    states_before,
)
from tests.emails import NOW, email

EMAIL = email(expires_at=None)


def test_every_state_is_in_the_table() -> None:
    """No state is forgotten when one is added."""
    assert TRANSITIONS.keys() == set(State)


def test_before_is_the_inverse_of_after() -> None:
    """`states_before` reads the same table from the other end."""
    for source in State:
        for target in State:
            assert (source in states_before(target)) is (target in TRANSITIONS[source])


def test_no_state_follows_itself() -> None:
    """A change of state is a change."""
    assert not [state for state in State if state in TRANSITIONS[state]]


def test_what_was_delivered_stays_so() -> None:
    """Nothing is knowingly sent twice."""
    assert not any(TRANSITIONS[state] for state in DELIVERED_STATES)


def test_only_a_claimed_email_is_delivered() -> None:
    """There is no way to `sent` but through a claim."""
    assert states_before(State.SENT) == states_before(State.CAPTURED) == {State.SENDING}


def test_exactly_what_may_be_claimed_can_become_sending() -> None:
    """Neither a held nor a finished email does."""
    assert states_before(State.SENDING) == CLAIMABLE_STATES


def test_a_final_state_changes_only_at_an_operator_s_word() -> None:
    """To be sent again, it starts at the beginning."""
    assert all(TRANSITIONS[state] <= {State.PENDING} for state in FINAL_STATES)


def test_every_state_can_be_reached() -> None:
    """From `pending`, where each email begins."""
    reached, ahead = {State.PENDING}, {State.PENDING}
    while ahead:
        ahead = {target for source in ahead for target in TRANSITIONS[source]} - reached
        reached |= ahead
    assert reached == set(State)


def test_an_email_that_waits_can_be_taken_back() -> None:
    """Until it is delivered, and held ones too."""
    assert states_before(State.CANCELLED) >= CLAIMABLE_STATES | {State.HELD}


@pytest.mark.parametrize("state", State)
def test_an_email_knows_whether_it_is_final(state: State) -> None:
    """As its state says."""
    assert replace(EMAIL, state=state).is_final is (state in FINAL_STATES)


@pytest.mark.parametrize("state", State)
def test_only_an_email_that_waits_has_a_next_attempt(state: State) -> None:
    """Pending or deferred, and not before a time."""
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
def test_an_outcome_reads_as_the_server_put_it(reply: SmtpReply, text: str) -> None:
    """Code, enhanced code and text, or at least its kind."""
    assert str(Outcome(kind=OutcomeKind.DEFERRED, reply=reply)) == text


def test_values_do_not_change() -> None:
    """A change is a new value."""
    with pytest.raises(FrozenInstanceError):
        EMAIL.state = State.SENT


def test_a_content_has_mappings_of_its_own() -> None:
    """Two emails never share one by accident."""
    one, other = Content(user=User(email="a@example.com")), Content(user=User(email="a@example.com"))
    assert one == other
    assert one.context is not other.context
