"""Suppressions: the list, and the sentences about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.suppressions import (
    Suppression,
    Suppressions,
    SuppressionSource,
    explain_suppression,
)
from tests.emails import NOW

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

OPERATOR = SuppressionSource.OPERATOR


@pytest.mark.parametrize(
    ("code", "enhanced", "reason", "expected"),
    [
        (550, "5.1.1", "no", "the address has been suppressed since 2026-03-01 (bounce): 550 5.1.1 no"),
        (None, None, "", "the address has been suppressed since 2026-03-01 (bounce)"),
    ],
)
def test_an_explanation_says_since_when_and_why(
    code: int | None, enhanced: str | None, reason: str, expected: str
) -> None:
    """As far as it is known."""
    entry = Suppression(
        address="zoe@example.com",
        reason=reason,
        source=SuppressionSource.BOUNCE,
        code=code,
        enhanced=enhanced,
        actor=None,
        created_at=NOW,
    )
    assert explain_suppression(entry) == expected


def test_an_address_is_listed_once_in_lower_case(log: Log) -> None:
    """In whatever spelling it comes."""
    suppressions = Suppressions(log.engine, clock=log.time)
    first = suppressions.add({"Zoe@Example.com": "no"}, source=OPERATOR, actor="ada")
    second = suppressions.add({"zoe@example.COM": "other"}, source=OPERATOR, actor="ada")
    assert (first, second) == (["zoe@example.com"], [])
    found = suppressions.find("ZOE@example.com")
    assert found is not None
    assert found.reason == "no"
    assert suppressions.remove(["ZOE@EXAMPLE.COM", "other@example.com"]) == ["zoe@example.com"]


def test_the_list_has_pages(log: Log) -> None:
    """The cursor of one is where the next begins; the last has none."""
    suppressions = Suppressions(log.engine, clock=log.time)
    suppressions.add({f"u{n}@example.com": "" for n in range(3)}, source=OPERATOR, actor="ada")
    first = suppressions.page(limit=2)
    second = suppressions.page(limit=2, after=first.cursor)
    assert [entry.address[:2] for entry in (*first.entries, *second.entries)] == ["u0", "u1", "u2"]
    assert second.cursor is None
    assert suppressions.page(limit=2, source=SuppressionSource.BOUNCE).entries == ()
