"""Suppressions and unsubscribes of many addresses are looked up at once, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.delivery_log.suppressions import Suppressions, SuppressionSource, find_suppressions
from mailctl.delivery_log.unsubscribes import Unsubscribes, find_unsubscribes

if TYPE_CHECKING:
    from tests.integration.delivery_log.conftest import Log

#: More than any database takes parameters in one statement.
MANY = [f"user{number}@example.com" for number in range(70_000)]
ODD = ["o'hara@example.com", 'a"b@example.com', "a\\b@example.com", "zoë@example.com", "%@example.com"]


def test_each_suppressed_address_is_found_among_many(log: Log) -> None:
    """Also one with characters that SQL or JSON quotes; none is found that only looks like it."""
    listed = Suppressions(log.engine)
    listed.add(dict.fromkeys(ODD, "asked us to stop"), source=SuppressionSource.OPERATOR, actor="ops@host")
    with log.engine.connect() as connection:
        assert find_suppressions(connection, [*MANY, *ODD]).keys() == set(ODD)
        assert find_suppressions(connection, MANY) == {}
    assert set(listed.remove([*MANY, *ODD[1:]])) == set(ODD[1:])


def test_each_unsubscribed_recipient_is_found_among_many(log: Log) -> None:
    """By address and kind."""
    unsubscribes = Unsubscribes(log.engine)
    for address in ODD:
        unsubscribes.add(address, kind="newsletter")
    with log.engine.connect() as connection:
        found = find_unsubscribes(connection, [*MANY, *ODD])
    assert found.keys() == {(address, "newsletter") for address in ODD}
    assert set(unsubscribes.remove([*MANY, *ODD], kind="newsletter")) == set(ODD)
