"""States and the transitions between them."""

from __future__ import annotations

from mailctl.domain.states import (
    CLAIMABLE_STATES,
    FEEDBACK_STATES,
    FINAL_STATES,
    SENT_OR_CAPTURED,
    TRANSITIONS,
    State,
    states_before,
)


def test_every_state_is_in_the_table() -> None:
    """No state is forgotten when one is added."""
    assert TRANSITIONS.keys() == set(State)


def test_states_before_are_the_inverse_of_the_transitions() -> None:
    """`states_before` reads the same table."""
    for source in State:
        for target in State:
            assert (source in states_before(target)) is (target in TRANSITIONS[source])


def test_no_state_follows_itself() -> None:
    """A transition changes the state."""
    assert not [state for state in State if state in TRANSITIONS[state]]


def test_a_sent_or_captured_email_stays_so() -> None:
    """Nothing is knowingly sent twice: only feedback changes it."""
    for state in SENT_OR_CAPTURED | {State.BOUNCED}:
        assert TRANSITIONS[state] <= set(FEEDBACK_STATES)


def test_only_a_claimed_email_is_sent_or_captured() -> None:
    """A claim is the only way to `sent`."""
    assert states_before(State.SENT) == states_before(State.CAPTURED) == {State.SENDING}


def test_claimable_states_are_those_before_sending() -> None:
    """Neither held nor final emails are claimed."""
    assert states_before(State.SENDING) == CLAIMABLE_STATES


def test_only_an_operator_changes_a_final_state() -> None:
    """The email starts again from `pending`; otherwise, only feedback changes it."""
    assert all(TRANSITIONS[state] <= {State.PENDING, *FEEDBACK_STATES} for state in FINAL_STATES)


def test_feedback_gives_way_to_stronger_feedback_alone() -> None:
    """Complained prevails over bounced, and bounced over delivered."""
    for place, state in enumerate(FEEDBACK_STATES):
        assert TRANSITIONS[state] == set(FEEDBACK_STATES[place + 1 :])


def test_every_state_can_be_reached() -> None:
    """From `pending`, where each email starts."""
    reached, ahead = {State.PENDING}, {State.PENDING}
    while ahead:
        ahead = {target for source in ahead for target in TRANSITIONS[source]} - reached
        reached |= ahead
    assert reached == set(State)


def test_a_waiting_email_can_be_cancelled() -> None:
    """Until it is sent, and also while it is held."""
    assert states_before(State.CANCELLED) >= CLAIMABLE_STATES | {State.HELD}
