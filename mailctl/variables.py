"""The gate for template variables: what JSON can carry, of a size that an email can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mailctl import inputs
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from mailctl.message import Json

MAX_DEPTH = 16
#: Values, those inside of others included.
MAX_VALUES = 5_000
#: Characters, all together: more than twice what mail programs show of an email.
MAX_CHARACTERS = 200_000
_MAX_BITS = 128


def variables(value: object, *, field: str = "context") -> dict[str, Json]:
    """Return template variables by name; None gives none.

    Args:
        field: what the giver knows them by.

    Raises:
        InvalidInput: they are not an object, one has an odd name, or holds what JSON cannot carry or no
            email can hold.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInput(field, "is not an object with named fields.")
    found = {inputs.variable_name(name): each for name, each in value.items()}
    _Measure(field).take(found, depth=0)
    return found


class _Measure:
    """Goes through a value and counts."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._values = 0
        self._characters = 0

    def take(self, value: Json, *, depth: int) -> None:
        self._values += 1
        if depth > MAX_DEPTH or self._values > MAX_VALUES:
            self._refuse(f"holds more than {MAX_VALUES} values, or lists inside of lists {MAX_DEPTH} deep.")
        if isinstance(value, str):
            self._take_text(value)
        elif isinstance(value, Mapping):
            for name, each in value.items():
                if not isinstance(name, str):
                    self._refuse_type()
                self._take_text(name)
                self.take(each, depth=depth + 1)
        elif isinstance(value, list | tuple):
            for each in value:
                self.take(each, depth=depth + 1)
        elif not _is_number_or_none(value):
            self._refuse_type()

    def _take_text(self, text: str) -> None:
        self._characters += len(text)
        if self._characters > MAX_CHARACTERS:
            self._refuse(f"holds more than {MAX_CHARACTERS} characters.")
        if "\0" in text or not _is_whole(text):
            self._refuse("holds a NUL, or half of a character (a lone surrogate).")

    def _refuse_type(self) -> None:
        raise InvalidInput(
            self._field,
            "holds a value that JSON cannot carry.",
            fix="Use text, numbers, true, false, null, lists and objects.",
        )

    def _refuse(self, reason: str) -> None:
        raise InvalidInput(self._field, reason)


def _is_number_or_none(value: object) -> bool:
    if isinstance(value, int):
        return value.bit_length() <= _MAX_BITS
    return value is None or (isinstance(value, float) and math.isfinite(value))


def _is_whole(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)
