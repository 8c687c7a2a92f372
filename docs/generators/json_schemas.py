"""The reference of what `--json` prints, from the JSON Schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docs.generators.markdown import escape, table

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parents[2] / "tests" / "data" / "schemas"
#: Definitions that the others refer to; nothing prints it.
_COMMON = "common"


def schemas() -> dict[str, Mapping[str, Any]]:
    """Return every schema by its name."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}


def json_objects() -> str:
    """Return a section for each object, with its keys."""
    found = schemas()
    common = found.pop(_COMMON, {})
    return "\n".join(_section(name, schema, common) for name, schema in found.items())


def _section(name: str, schema: Mapping[str, Any], common: Mapping[str, Any]) -> str:
    definitions = {**common.get("$defs", {}), **schema.get("$defs", {})}
    required = set(schema.get("required", ()))
    rows = (
        [f"`{key}`", describe_type(value, definitions) + ("" if key in required else " (may be missing)")]
        for key, value in schema.get("properties", {}).items()
    )
    return f"## {name}\n\n{escape(schema.get('title', ''))}.\n\n{table(['key', 'value'], rows)}"


def describe_type(value: Any, definitions: Mapping[str, Any]) -> str:
    """Return what a value may be, in a few words."""
    if not isinstance(value, dict):
        return "anything"
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return " or ".join(f"`{json.dumps(each)}`" for each in value["enum"])
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return (
            describe_type(definitions[name], definitions)
            if name in definitions
            else name.removesuffix(".json")
        )
    for word in ("anyOf", "oneOf"):
        if word in value:
            return " or ".join(dict.fromkeys(describe_type(each, definitions) for each in value[word]))
    return _plain_type(value, definitions)


def _plain_type(value: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    given = value.get("type", "anything")
    kinds = [given] if isinstance(given, str) else list(given)
    text = " or ".join(kinds)
    if value.get("format") == "date-time" or "T" in str(value.get("pattern", "")):
        text = text.replace("string", "time (UTC, ISO 8601)")
    if "items" in value:
        return f"{text} of {describe_type(value['items'], definitions)}"
    if "object" in kinds and value.get("properties"):
        return f"{text} with {', '.join(f'`{key}`' for key in value['properties'])}"
    return text
