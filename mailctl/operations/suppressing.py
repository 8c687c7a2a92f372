"""Suppressing addresses for operators: adding, removing and importing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.delivery_log.suppressions import SuppressionSource
from mailctl.domain.address_validation import validate_address
from mailctl.domain.recipient_list import read_suppression_list
from mailctl.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.domain.models import RowProblem
    from mailctl.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class SuppressionChanges:
    """The addresses that were given, and those of them that were added or removed."""

    addresses: tuple[str, ...]
    changed: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class SuppressionImport:
    """The result of an import."""

    #: How many addresses were added.
    added: int
    #: How many addresses were suppressed before.
    known: int
    problems: tuple[RowProblem, ...]


class SuppressionService:
    """Changes the list of suppressed addresses.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._suppressions = runtime.suppressions
        self._unsubscribes = runtime.unsubscribes

    def add(self, addresses: Iterable[str], *, reason: str, actor: str) -> SuppressionChanges:
        """Suppress addresses; those that are suppressed already stay as they are.

        Args:
            addresses: the addresses.
            reason: why, in the operator's words; "" for none.
            actor: the operator.

        Raises:
            InvalidInput: an address is not valid; nothing was changed.
            LogUnavailable: the delivery log cannot be written.
        """
        reasons = dict.fromkeys(
            (validate_address(address, field=address).lower() for address in addresses), reason
        )
        added = self._suppressions.add(reasons, source=SuppressionSource.OPERATOR, actor=actor)
        return SuppressionChanges(addresses=tuple(reasons), changed=frozenset(added))

    def remove(self, addresses: Iterable[str]) -> SuppressionChanges:
        """Remove addresses from the list.

        Raises:
            LogUnavailable: the delivery log cannot be written.
        """
        wanted = tuple(dict.fromkeys(map(_normalize, addresses)))
        return SuppressionChanges(addresses=wanted, changed=frozenset(self._suppressions.remove(wanted)))

    def resubscribe(self, addresses: Iterable[str], *, kind: str) -> SuppressionChanges:
        """Let emails of a kind go to addresses again whose recipients had unsubscribed from it.

        Raises:
            LogUnavailable: the delivery log cannot be written.
        """
        wanted = tuple(dict.fromkeys(map(_normalize, addresses)))
        changed = self._unsubscribes.remove(wanted, kind=kind)
        return SuppressionChanges(addresses=wanted, changed=frozenset(changed))

    def import_list(self, data: bytes, *, field: str, actor: str) -> SuppressionImport:
        """Suppress the addresses of a file, skipping invalid rows.

        Args:
            data: the content of the file; see `read_suppression_list`.
            field: the name of the file for error messages.
            actor: the operator.

        Raises:
            InvalidInput: the file cannot be read as a list.
            LogUnavailable: the delivery log cannot be written.
        """
        reasons, problems = read_suppression_list(data, field=field)
        added = self._suppressions.add(reasons, source=SuppressionSource.IMPORT, actor=actor)
        return SuppressionImport(added=len(added), known=len(reasons) - len(added), problems=tuple(problems))


def require_removed(changes: SuppressionChanges) -> None:
    """Raise if none of the addresses was suppressed.

    Raises:
        NotFound: none was.
    """
    if not changes.changed:
        raise NotFound("None of these addresses is suppressed.", fix="See `mailctl suppress list`.")


def _normalize(address: str) -> str:
    """Return an address in the form of the list, which may contain addresses that are no longer valid."""
    try:
        return validate_address(address, field=address).lower()
    except InvalidInput:
        return address.lower()
