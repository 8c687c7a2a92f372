"""The base class of the JSON objects, and the types of their fields."""

from __future__ import annotations

from datetime import datetime
from types import UnionType
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, WithJsonSchema

_TIMESTAMP_PATTERN = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"

# The constraints below describe the values in the schema. They are not validated: an unexpected number must
# not keep a command from printing the rest.

#: A UTC time in ISO 8601 format.
Timestamp = Annotated[
    datetime, WithJsonSchema({"type": "string", "format": "date-time", "pattern": _TIMESTAMP_PATTERN})
]
#: A count, from 0.
Count = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0})]
#: A duration in seconds.
Seconds = Annotated[float, WithJsonSchema({"type": "number", "minimum": 0})]
#: A number of events per minute.
PerMinute = Annotated[float, WithJsonSchema({"type": "number", "minimum": 0})]
#: A share from 0 to 1.
Share = Annotated[float, WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})]


class View(BaseModel):
    """A JSON object.

    `model_validate` accepts an object of the library whose attributes have the names of the fields.
    """

    model_config = ConfigDict(
        frozen=True,
        from_attributes=True,
        extra="forbid",
        json_schema_serialization_defaults_required=True,
        # A command uses few of the classes of a module.
        defer_build=True,
    )

    def as_json(self) -> dict[str, Any]:
        """Return the object with values that `json.dumps` accepts."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """Return the names of the fields; the name of a nested field is a path such as `smtp.code`."""
        return tuple(
            f"{field.serialization_alias or name}{inner and '.'}{inner}"
            for name, field in cls.model_fields.items()
            for inner in _inner_names(field.annotation)
        )


def _inner_names(annotation: Any) -> tuple[str, ...]:
    """Return the names of the fields of a view, which may be optional; ("",) for another type."""
    types = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return next(
        (each.field_names() for each in types if isinstance(each, type) and issubclass(each, View)), ("",)
    )


def round_figure(number: float | None) -> float | None:
    """Return a number rounded to two decimal places; None stays None."""
    return None if number is None else round(number, 2)
