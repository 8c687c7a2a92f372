"""The reference of what `--json` prints, from the JSON Schemas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from docs.generators.markdown import escape, table
from mailctl.views.schemas import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.views.schemas import ObjectSchema


def json_objects() -> str:
    """Return a section for each object: the commands that print it, and its keys."""
    return "\n".join(_section(each) for each in SCHEMAS.values())


def _section(found: ObjectSchema) -> str:
    schema = found.generate()
    definitions = schema.get("$defs", {})
    rows = (
        [f"`{key}`", describe_type(value, definitions), escape(value.get("description", ""))]
        for key, value in schema["properties"].items()
        if key != "schema"
    )
    commands = ", ".join(f"`{each}`" for each in found.commands)
    return f"## {found.name}\n\n{escape(found.title)}. Printed by {commands}.\n\n{table(_HEADS, rows)}"


_HEADS = ("key", "value", "meaning")


def describe_type(value: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return what a value may be, in a few words."""
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return " or ".join(f"`{json.dumps(each)}`" for each in value["enum"])
    if "$ref" in value:
        return describe_type(definitions[value["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(describe_type(each, definitions) for each in value["anyOf"]))
    return _plain_type(value, definitions)


def _plain_type(value: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    kind = str(value.get("type", "anything"))
    if value.get("format") == "date-time":
        return "time (UTC, ISO 8601)"
    if "items" in value:
        return f"{kind} of {describe_type(value['items'], definitions)}"
    if value.get("properties"):
        return f"{kind} with {', '.join(f'`{key}`' for key in value['properties'])}"
    return kind
