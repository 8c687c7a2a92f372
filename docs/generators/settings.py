"""The reference of the settings: what `.env.example` says of each, and what the code takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from docs.generators.markdown import escape
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / ".env.example"
_SECTION = re.compile(r"# --- (?P<title>.+?) -+$")
_ASSIGNMENT = re.compile(r"(?:# )?(?P<name>[A-Z][A-Z0-9_]+)=(?P<value>.*)$")


@dataclass(frozen=True, kw_only=True)
class Example:
    """A setting as `.env.example` shows it."""

    section: str
    name: str
    #: What stands after the name, once for each line that shows it.
    values: tuple[str, ...]
    text: str


def examples() -> list[Example]:
    """Return the settings that `.env.example` shows, in its order."""
    found: dict[str, Example] = {}
    section = ""
    comment: list[str] = []
    for line in EXAMPLE.read_text().splitlines():
        if title := _SECTION.match(line):
            section, comment = title["title"], []
        elif shown := _ASSIGNMENT.match(line):
            earlier = found.get(shown["name"])
            values = (*(earlier.values if earlier else ()), shown["value"])
            text = " ".join(([earlier.text] if earlier else []) + comment)
            found[shown["name"]] = Example(section=section, name=shown["name"], values=values, text=text)
            comment = []
        elif line.startswith("# "):
            comment.append(line.removeprefix("# "))
        else:
            comment = []
    return list(found.values())


def settings() -> str:
    """Return a section for each group of settings, and in it one for each setting."""
    parts, section = [], ""
    for example in examples():
        if example.section != section:
            section = example.section
            parts.append(f"## {section}\n")
        parts.append(f"### {example.name}\n\n{escape(example.text)}\n\n{'; '.join(_facts(example))}.\n")
    return "\n".join(parts)


def _facts(example: Example) -> Iterator[str]:
    field = Settings.model_fields[example.name.lower()]
    default = _shown(field.get_default())
    yield f"Default: `{default}`" if default else "Default: not set"
    if get_origin(field.annotation) is Literal:
        yield "one of " + ", ".join(f"`{each}`" for each in get_args(field.annotation))
    bounds = {type(each).__name__: each for each in field.metadata}
    if bounds:
        yield ", ".join(_bound(name, each) for name, each in bounds.items())
    given = [value for value in example.values if value and value != default]
    if given:
        yield "for example " + ", ".join(f"`{value}`" for value in given)


def _bound(name: str, bound: Any) -> str:
    words = {"Ge": "at least", "Gt": "more than", "Le": "at most", "Lt": "less than"}
    return f"{words[name]} {getattr(bound, name.lower()):g}" if name in words else ""


def _shown(default: Any) -> str:
    """Return a default as one would write it in the file."""
    secret = getattr(default, "get_secret_value", None)
    value = secret() if secret else default
    return "" if value is None else str(value)
