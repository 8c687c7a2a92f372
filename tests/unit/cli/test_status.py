"""What `mailctl status` prints of the emails of the same call."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.cli.commands.status import _describe_group


@pytest.mark.parametrize(
    ("count", "text"), [(0, ""), (2, "0, 1"), (5, "0, 1, 2, 3, 4"), (300, "0, 1, 2, 3, 4 and 295 others")]
)
def test_only_a_few_of_the_emails_of_a_call_are_named(count: int, text: str) -> None:
    """How many others there are is said."""
    others: Any = tuple(SimpleNamespace(id=str(number)) for number in range(count))
    assert _describe_group(others) == text
