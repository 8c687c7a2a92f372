"""Converts values that a service passes to JSON, with the text that a template would print."""

from __future__ import annotations

import dataclasses
import sys
import uuid
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from mailctl.domain.models import Json

#: The types of JSON.
_JSON = (str, int, float, type(None), Mapping, list, tuple)
#: Types whose text is what a template prints of them: `2026-11-28 09:30:00+00:00`, `19.90`.
_PRINTED = (datetime, date, time, uuid.UUID, Decimal, IPv4Address, IPv6Address)
#: Methods that return what an object stands for: of Celery's serializer, of pydantic's models and its URLs.
_METHODS = ("__json__", "model_dump", "unicode_string")
#: How often what a value stands for may stand for something else.
_MAX_STEPS = 5


def to_json_value(value: object, *, field: str) -> Json:
    """Return one value as JSON has it: text, a number, true, false, null, a list or a mapping.

    The parts of lists and mappings stay as they are. What JSON does not have becomes what Celery's serializer
    and a template make of it:

    - date, time, UUID, decimal number, IP address: the text that a template prints, such as
      `2026-11-28 09:30:00+00:00` or `19.90`
    - member of an enumeration: its value
    - dataclass, pydantic model: a mapping of its fields
    - lazy text of Django (`gettext_lazy`), URL of pydantic: its text, in the language that is active now
    - object with a method `__json__`: what it returns

    Args:
        value: the value.
        field: the name of what is converted, for error messages.

    Raises:
        InvalidInput: it is of another type, or it cannot be read.
    """
    for _ in range(_MAX_STEPS):
        if isinstance(value, _JSON) and not isinstance(value, Enum):
            return value
        try:
            converted = _convert(value)
        except Exception as error:  # the service's code may raise anything
            reason = f"contains a {type(value).__name__} object that raised {type(error).__name__}."
            raise InvalidInput(field, reason) from error
        if converted is value:
            break
        value = converted
    raise InvalidInput(
        field,
        f"contains a value of type {type(value).__name__}, which JSON does not have.",
        fix="Use text, numbers, dates, true, false, null, lists, objects, dataclasses and pydantic models.",
    )


def to_json_name(name: object, *, field: str) -> str:
    """Return the name of a value in an object as JSON writes it; numbers and null become text.

    Args:
        name: the name.
        field: the name of what is converted, for error messages.

    Raises:
        InvalidInput: it is of another type.
    """
    if isinstance(name, Enum):
        name = name.value
    if isinstance(name, str):
        return name
    if isinstance(name, bool) or name is None:
        return {True: "true", False: "false", None: "null"}[name]
    if isinstance(name, int | float):
        return str(name)
    raise InvalidInput(
        field, f"contains an object with a name of type {type(name).__name__}.", fix="Use text."
    )


def _convert(value: object) -> object:
    """Return what a value that JSON does not have stands for; the value itself if nothing is known of it."""
    if isinstance(value, _PRINTED) or _is_lazy_text(value):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    methods = (getattr(value, name, None) for name in _METHODS) if not isinstance(value, type) else ()
    method = next((each for each in methods if callable(each)), None)
    return value if method is None else method()


def _is_lazy_text(value: object) -> bool:
    # Django is not imported for this; without it, there are no such texts.
    promise = getattr(sys.modules.get("django.utils.functional"), "Promise", None)
    return promise is not None and isinstance(value, promise)
