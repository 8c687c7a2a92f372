"""Suppressing addresses: what is given, and what is changed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.errors import InvalidInput, NotFound
from mailctl.operations.suppressing import SuppressionService, require_removed

if TYPE_CHECKING:
    from collections.abc import Collection


class Suppressions:
    """A list in memory."""

    def __init__(self, *addresses: str) -> None:
        self.reasons = dict.fromkeys(addresses, "")

    def add(self, reasons: dict[str, str], *, source: str, actor: str) -> list[str]:
        """Add addresses; return the new ones."""
        new = [address for address in reasons if address not in self.reasons]
        self.reasons = reasons | self.reasons
        return new

    def remove(self, addresses: Collection[str]) -> list[str]:
        """Remove addresses; return those that were there."""
        return [address for address in addresses if self.reasons.pop(address, None) is not None]


class Unsubscribes:
    """The kinds that each address has unsubscribed from."""

    def __init__(self, **kinds: str) -> None:
        self.kinds = {f"{name}@example.com": kind for name, kind in kinds.items()}

    def remove(self, addresses: Collection[str], *, kind: str | None) -> list[str]:
        """Undo unsubscribing from a kind, or from all; return the addresses that had."""
        return [
            address
            for address in addresses
            if kind in (None, self.kinds.get(address)) and self.kinds.pop(address, None)
        ]


def service(suppressions: Suppressions) -> SuppressionService:
    """Return a service that changes a list, where nobody has unsubscribed."""
    runtime: Any = SimpleNamespace(suppressions=suppressions, unsubscribes=Unsubscribes())
    return SuppressionService(runtime)


def test_addresses_are_added_once_in_lower_case() -> None:
    """Those that are suppressed already are reported, and stay as they are."""
    listed = Suppressions("zoe@example.com")
    changes = service(listed).add(
        ["Ada@Example.com", "ada@example.com", "zoe@example.com"], reason="x", actor="a"
    )
    assert (changes.addresses, changes.changed) == (
        ("ada@example.com", "zoe@example.com"),
        frozenset({"ada@example.com"}),
    )
    assert listed.reasons == {"ada@example.com": "x", "zoe@example.com": ""}


def test_an_invalid_address_stops_all() -> None:
    """Nothing is added."""
    listed = Suppressions()
    with pytest.raises(InvalidInput):
        service(listed).add(["ada@example.com", "no address"], reason="", actor="a")
    assert listed.reasons == {}


def test_what_once_came_on_the_list_can_be_removed() -> None:
    """Even if it is no valid address any more."""
    listed = Suppressions("zoe@example.com", "odd address")
    changes = service(listed).remove(["ZOE@example.com", "Odd Address", "ada@example.com"])
    assert changes.changed == {"zoe@example.com", "odd address"}
    require_removed(changes)
    with pytest.raises(NotFound):
        require_removed(service(listed).remove(["zoe@example.com"]))


def test_an_import_counts_new_known_and_invalid_rows() -> None:
    """Invalid rows are skipped."""
    listed = Suppressions("zoe@example.com")
    result = service(listed).import_list(
        b"email,reason\nada@example.com,asked\nzoe@example.com,\nno address,\n", field="FILE", actor="a"
    )
    assert (result.added, result.known, [problem.line for problem in result.problems]) == (1, 1, [4])
    assert listed.reasons["ada@example.com"] == "asked"


def test_unsubscribing_is_undone_for_one_kind() -> None:
    """The addresses that had not unsubscribed from it are reported as unchanged."""
    runtime: Any = SimpleNamespace(
        suppressions=Suppressions(), unsubscribes=Unsubscribes(ada="news", zoe="offers")
    )
    changes = SuppressionService(runtime).resubscribe(["Ada@example.com", "zoe@example.com"], kind="news")
    assert (changes.addresses, changes.changed) == (
        ("ada@example.com", "zoe@example.com"),
        frozenset({"ada@example.com"}),
    )
