"""Selections of emails, and the sentences about those that an action does not apply to."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mailctl.domain.eligibility import HOLD, RELEASE
from mailctl.domain.states import State
from mailctl.operations.selection import CHUNK_SIZE, Selection, not_applicable_message
from tests.emails import email

ENGINE: Any = None


def test_named_emails_come_in_chunks() -> None:
    """The log is not read for them."""
    selection = Selection(emails=tuple(email(id=f"e{number}") for number in range(CHUNK_SIZE + 1)))
    assert selection.count(ENGINE) == CHUNK_SIZE + 1
    assert [len(chunk) for chunk in selection.chunks(ENGINE)] == [CHUNK_SIZE, 1]


def test_an_empty_selection_has_no_chunks() -> None:
    """Such as one of unknown ids alone."""
    selection = Selection(unknown=(("x", "unknown"),))
    assert (selection.count(ENGINE), list(selection.chunks(ENGINE))) == (0, [])


def test_states_that_an_action_does_not_apply_to_are_counted() -> None:
    """The most frequent one first."""
    others = Counter({State.SENT: 1, State.CANCELLED: 1200})
    assert not_applicable_message(HOLD, others) == (
        "1,201 emails match, but `hold` does not apply to any of them (1,200 cancelled, 1 sent)."
    )


def test_a_state_that_can_be_named_is_suggested() -> None:
    """The action applies to it, but not by default."""
    assert not_applicable_message(RELEASE, Counter({State.CANCELLED: 1})) == (
        "1 email matches, but `release` by default does not apply to any of them (1 cancelled). "
        "To include them, name their state: --state cancelled."
    )
