"""Wording that the rules share."""

from __future__ import annotations

import pytest

from mailctl.diagnosis.wording import follow_command, format_time, join_names
from tests.emails import NOW, email


@pytest.mark.parametrize(
    ("names", "joined"),
    [
        ((), ""),
        (("a",), "a"),
        (("a", "b", "c"), "a, b, c"),
        (("a", "b", "c", "d", "e"), "a, b, c and 2 more"),
    ],
)
def test_only_some_names_are_listed(names: str, joined: str) -> None:
    """With the number of the others."""
    assert join_names(names) == joined


def test_times_have_a_zone() -> None:
    """To the second."""
    assert format_time(NOW) == "2026-03-01 12:00:00 UTC"


def test_an_email_is_followed_by_its_id() -> None:
    """Until it is finished."""
    assert str(follow_command(email(id="e1"))) == "mailctl status e1 --watch"
