"""The reference of the public Python API, from what `mailctl` exports."""

from __future__ import annotations

import dataclasses
import inspect
import re
from types import ModuleType
from typing import TYPE_CHECKING, Any

import mailctl
from docs.generators.source import member_comments

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECTION = re.compile(r"(?P<title>(?:Args|Returns|Raises|Yields)[^:]*):$")
_ENTRY = re.compile(r"(?P<name>[\w*]+): (?P<text>.*)$")


def python_api() -> str:
    """Return a section for each public name."""
    exported = ((name, getattr(mailctl, name)) for name in sorted(mailctl.__all__, key=_rank))
    return "\n".join(_section(name, each) for name, each in exported)


def _rank(name: str) -> tuple[bool, bool, str]:
    """Order: what is called, then values, then errors."""
    found = getattr(mailctl, name)
    is_error = isinstance(found, type) and issubclass(found, Exception)
    return (is_error, name != "EmailService", name.lower())


def _section(name: str, found: Any) -> str:
    if isinstance(found, ModuleType):
        functions = _public_functions(found)
        parts = [f"## {name}\n", _text(found)]
        parts += [_callable(f"{name}.{each}", function) for each, function in functions]
        return "\n".join(parts)
    if not isinstance(found, type):
        return _callable(name, found, level=2)
    return "\n".join([f"## {name}\n", _constructor(name, found), _text(found), *_members(name, found)])


def _constructor(name: str, cls: type) -> str:
    if name == "EmailService":  # never made: all its methods are static
        return ""
    return _signature(name, cls)


def _members(name: str, cls: type) -> Iterator[str]:
    if dataclasses.is_dataclass(cls):
        comments = member_comments(cls)
        fields = (field.name for field in dataclasses.fields(cls))
        yield "".join(f"- `{field}`: {comments[field]}\n" for field in fields if comments.get(field))
    public = [each for each in vars(cls) if not each.startswith("_")]
    for each in public:
        member = getattr(cls, each)
        if inspect.isfunction(member):
            yield _callable(f"{name}.{each}", member)
        elif isinstance(member, property):
            yield f"### {name}.{each}\n\n{_text(member)}"


def _public_functions(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ == module.__name__ and name in ("redeem", "verify"):
            yield name, function


def _callable(name: str, function: Any, *, level: int = 3) -> str:
    return f"{'#' * level} {name}\n\n{_signature(name, function)}\n{_text(function)}"


def _signature(name: str, found: Any) -> str:
    """Return how it is called, one argument a line where it would be too long."""
    signature = str(inspect.signature(found)).replace("'", "")
    signature = re.sub(r"<factory>|<object object[^>]*>", "...", signature)
    word = "await " if inspect.iscoroutinefunction(found) else ""
    text = f"{word}{name}{signature}"
    if len(text) > 88:
        inside, returned = re.fullmatch(r"[^(]*\((.*)\)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        lines = "".join(f"    {each},\n" for each in re.split(r", (?![^\[]*\])", inside))
        text = f"{word}{name}(\n{lines}){returned}"
    return f"```text\n{text}\n```\n"


def _text(found: Any) -> str:
    """Return a docstring as Markdown: its sections become lists."""
    lines: list[str] = []
    in_section = False
    for line in inspect.cleandoc(found.__doc__ or "").splitlines():
        if title := _SECTION.match(line):
            lines += ["", f"**{title['title']}**", ""]
            in_section = True
        elif in_section and (entry := _ENTRY.match(line.removeprefix("    "))):
            lines.append(f"- `{entry['name']}`: {entry['text']}")
        else:
            lines.append(line.strip() if in_section else line)
    return "\n".join(lines) + "\n"
