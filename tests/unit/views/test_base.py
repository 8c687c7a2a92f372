"""The base class of the JSON objects."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from pydantic import Field, ValidationError

from mailctl.views.base import Timestamp, View, round_figure


class Example(View):
    at: Timestamp
    error: str | None = Field(default=None, serialization_alias="failure")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2030, 5, 4, 12, 15, tzinfo=UTC), "2030-05-04T12:15:00Z"),
        (datetime(2030, 5, 4, 12, 15, 30, 120000, tzinfo=UTC), "2030-05-04T12:15:30.120000Z"),
    ],
)
def test_times_are_printed_in_utc(at: datetime, text: str) -> None:
    """The zone is Z, and microseconds have six digits."""
    assert Example(at=at).as_json()["at"] == text


def test_keys_are_the_names_for_programs() -> None:
    """An alias is the key; a field without a value is null, not missing."""
    printed = Example(at=datetime(2030, 5, 4, tzinfo=UTC)).as_json()
    assert json.dumps(printed) == '{"at": "2030-05-04T00:00:00Z", "failure": null}'


def test_objects_of_the_library_are_accepted() -> None:
    """Attributes become fields; further attributes do not matter."""
    source = SimpleNamespace(at=datetime(2030, 5, 4, tzinfo=UTC), error="gone", other=1)
    assert Example.model_validate(source).error == "gone"


def test_a_key_without_a_field_is_refused() -> None:
    """A misspelled field would be missing in the output."""
    with pytest.raises(ValidationError, match="other"):
        Example.model_validate({"at": datetime(2030, 5, 4, tzinfo=UTC), "other": 1})


def test_figures_have_two_decimal_places() -> None:
    """What is not known stays null."""
    assert [round_figure(1 / 3), round_figure(2.0), round_figure(None)] == [0.33, 2.0, None]


def test_fields_have_names_without_an_object() -> None:
    """Those of an object within another one, which may be null, have a point in their name."""

    class Outer(View):
        example: Example | None
        names: list[str]

    assert Outer.field_names() == ("example.at", "example.failure", "names")
