"""Which emails have changed since a list was last read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mailctl.domain.states import State
from mailctl.monitoring.email_changes import EmailChanges
from tests.emails import email

FIRST, SECOND = email(id="e1"), email(id="e2")


def test_everything_is_new_at_first_and_then_only_what_changes() -> None:
    """In the order of the list."""
    changes = EmailChanges(lambda _: None)
    assert changes.update([FIRST, SECOND]) == [FIRST, SECOND]
    assert changes.update([FIRST, SECOND]) == []
    sent = replace(SECOND, state=State.SENT)
    assert changes.update([FIRST, sent]) == [sent]


@pytest.mark.parametrize(
    ("field", "value"), [("attempts", 1), ("error", "451 busy"), ("state", State.QUEUED)]
)
def test_state_attempts_and_error_count(field: str, value: object) -> None:
    """They are what a reader of the list sees."""
    changes = EmailChanges(lambda _: None)
    changes.update([FIRST])
    assert changes.update([replace(FIRST, **{field: value})]) != []


def test_a_lease_does_not_count() -> None:
    """Workers renew it all the time."""
    changes = EmailChanges(lambda _: None)
    changes.update([FIRST])
    assert changes.update([replace(FIRST, lease_until=FIRST.created_at + timedelta(minutes=1))]) == []


def test_an_email_that_drops_out_of_the_list_is_looked_up() -> None:
    """It has changed, has only made room for others, or has been deleted."""
    sent = replace(FIRST, state=State.SENT)
    for found, expected in ((sent, [sent]), (FIRST, []), (None, [])):
        changes = EmailChanges({"e1": found}.get)
        changes.update([FIRST, SECOND])
        assert changes.update([SECOND]) == expected
