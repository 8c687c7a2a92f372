"""What a service's code passes in a context becomes JSON, of the text that a template would print."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from ipaddress import ip_address
from typing import Any

import pytest
from django.utils.functional import lazystr
from kombu.utils import json as kombu_json
from pydantic import BaseModel, HttpUrl, SecretStr

from mailctl.domain.template_context import MAX_DEPTH, validate_variables
from mailctl.errors import InvalidInput

WHEN = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)
UUID = uuid.UUID("12345678123456781234567812345678")


class Plan(StrEnum):
    """An enumeration of texts."""

    PRO = "pro"


class Colour(Enum):
    """An enumeration whose values are not JSON."""

    RED = Decimal("1.50")


class Level(IntEnum):
    """An enumeration of numbers."""

    HIGH = 3


@dataclass(frozen=True)
class Line:
    """A dataclass."""

    price: Decimal
    due: date


class Order(BaseModel):
    """A model of pydantic."""

    placed: datetime
    lines: list[Line]
    page: HttpUrl


class Money:
    """An object that tells Celery's serializer what it stands for."""

    def __json__(self) -> object:
        """Return the amount."""
        return {"amount": Decimal("5.00")}


class Endless:
    """An object that stands for something else, without an end."""

    def __json__(self) -> object:
        """Return another one."""
        return Endless()


class Broken:
    """An object that cannot be read."""

    def __json__(self) -> object:
        """Fail with a text that nobody must see."""
        raise RuntimeError("password=hunter2")


#: Values of a service's code, and what a template gets.
TAKEN: list[tuple[Any, Any]] = [
    (WHEN, "2026-11-28 09:30:00+00:00"),
    (date(2026, 11, 28), "2026-11-28"),
    (time(9, 30), "09:30:00"),
    (UUID, "12345678-1234-5678-1234-567812345678"),
    (Decimal("19.90"), "19.90"),
    (ip_address("2001:db8::1"), "2001:db8::1"),
    (Plan.PRO, "pro"),
    (Colour.RED, "1.50"),
    (Level.HIGH, 3),
    (lazystr("Guten Tag"), "Guten Tag"),
    (Money(), {"amount": "5.00"}),
    (Line(price=Decimal("1.00"), due=date(2026, 1, 2)), {"price": "1.00", "due": "2026-01-02"}),
    (
        Order(
            placed=WHEN,
            lines=[Line(price=Decimal("1.00"), due=date(2026, 1, 2))],
            page=HttpUrl("https://a.example/x"),
        ),
        {
            "placed": "2026-11-28 09:30:00+00:00",
            "lines": [{"price": "1.00", "due": "2026-01-02"}],
            "page": "https://a.example/x",
        },
    ),
    ({1: "one", None: "none", Plan.PRO: "pro"}, {"1": "one", "null": "none", "pro": "pro"}),
]


@pytest.mark.parametrize(("given", "taken"), TAKEN, ids=[type(given).__name__ for given, _ in TAKEN])
def test_values_of_a_service_are_taken(given: object, taken: object) -> None:
    """At any depth; dates, numbers and ids as the text that a template prints."""
    assert validate_variables({"a": given, "b": [{"c": given}]}) == {"a": taken, "b": [{"c": taken}]}


@pytest.mark.parametrize("value", [WHEN, WHEN.date(), WHEN.time(), UUID, Decimal("1.50")])
def test_the_text_is_that_which_a_template_prints_after_celery(value: object) -> None:
    """So that an email reads as it did when the service's own task rendered it."""
    passed = kombu_json.loads(kombu_json.dumps({"a": value}))
    assert validate_variables(passed) == {"a": str(passed["a"])} == {"a": str(value)}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (object(), "type object,"),
        ({1, 2}, "type set,"),
        (b"x", "type bytes,"),
        (SecretStr("hunter2"), "type SecretStr,"),
        (Order, "type ModelMetaclass,"),
        (Endless(), "type Endless,"),
        ({(1, 2): 3}, "name of type tuple"),
        (Broken(), "a Broken object that raised RuntimeError"),
    ],
)
def test_other_values_are_refused_by_the_name_of_their_type(value: object, named: str) -> None:
    """Their text may hold a secret."""
    with pytest.raises(InvalidInput, match=named) as refused:
        validate_variables({"a": value})
    assert "hunter2" not in str(refused.value)


def test_a_value_that_contains_itself_has_a_limit() -> None:
    """Taking it apart would end in Python's own limit."""
    endless: dict[str, Any] = {}
    endless["self"] = endless
    with pytest.raises(InvalidInput, match=f"{MAX_DEPTH} levels"):
        validate_variables({"a": endless})


def test_what_the_caller_changes_afterwards_changes_no_email() -> None:
    """The variables are a copy."""
    names = ["zoe"]
    taken = validate_variables({"names": names})
    names.append("ada")
    assert taken == {"names": ["zoe"]}
