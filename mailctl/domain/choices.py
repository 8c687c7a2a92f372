"""Values that have to be one of some choices, such as a state or the format of a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Iterable


def require_choice(value: str, choices: Iterable[str], *, noun: str) -> str:
    """Return a value that must be one of some choices.

    Args:
        value: the given value.
        choices: the valid values.
        noun: what the value is, such as "state".

    Raises:
        UnknownName: it is none of them.
    """
    known = list(choices)
    if value not in known:
        raise UnknownName(noun, value, known)
    return value
