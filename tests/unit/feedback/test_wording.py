"""How bounces without a standard report are recognised."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files

import pytest

from mailctl.feedback import wording


@pytest.mark.parametrize(
    ("text", "code", "enhanced", "expected"),
    [
        ("", 550, None, True),
        ("", 450, None, False),
        ("", None, "5.1.1", True),
        ("", None, "4.2.2", False),
        ("", 450, "5.0.0", False),
        ("", 550, "4.0.0", True),
        ("", 452, "5.2.2", True),
        ("The mailbox is full.", None, "5.0.0", False),
        ("No such user.", None, "5.0.0", True),
        ("No such user: the mailbox is full.", None, None, False),
        ("", None, "5.0.0", None),
        ("", None, None, None),
    ],
)
def test_the_most_exact_code_says_whether_a_bounce_is_permanent(
    text: str, code: int | None, enhanced: str | None, expected: bool | None
) -> None:
    """5.0.0 says no more than that a program has given up; words count where no code does."""
    assert wording.is_permanent(text, code=code, enhanced=enhanced) is expected


def test_a_text_is_searched_without_regard_to_case() -> None:
    """Anywhere in it."""
    assert wording.says("bounce", "subjects", "Re: UNDELIVERABLE")
    assert not wording.says("bounce", "subjects", "Your order")


def test_no_expression_matches_everything() -> None:
    """One that did would turn each message into a bounce."""
    table = tomllib.loads(files("mailctl.feedback").joinpath("wording.toml").read_text(encoding="utf-8"))
    lists = [found for part in table.values() for name, found in part.items() if name != "headers"]
    expressions = [each for found in lists for each in found]
    assert len(expressions) > 50
    assert [each for each in expressions if re.search(each, "", re.IGNORECASE)] == []
