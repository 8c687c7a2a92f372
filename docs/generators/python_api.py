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
#: An annotation as a signature prints it, in quotes.
_ANNOTATION = re.compile(r"(: |-> )'([^']*)'")
#: Classes whose instances the caller does not make.
_NEVER_MADE = frozenset({"EmailService", "links.UseStore", "sync.EmailService"})
#: What is public in a module that is exported as a whole.
_OF_MODULES = {
    "alembic": ("include_object",),
    "links": ("verify", "redeem", "LinkClaims", "LinkRequest", "LinkUser", "UseStore"),
    "sync": ("EmailService",),
}
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


def _section(name: str, found: Any, *, level: int = 2) -> str:
    if isinstance(found, ModuleType):
        members = (_section(f"{name}.{each}", getattr(found, each), level=3) for each in _OF_MODULES[name])
        return "\n".join([f"## {name}\n", _text(found), *members])
    if not isinstance(found, type):
        return _callable(name, found, level=level)
    head = f"{'#' * level} {name}\n"
    return "\n".join([head, _constructor(name, found), _text(found), *_members(name, found, level=level)])


def _constructor(name: str, cls: type) -> str:
    return "" if name in _NEVER_MADE else _signature(name, cls).replace(") -> None", ")")


def _members(name: str, cls: type, *, level: int) -> Iterator[str]:
    if dataclasses.is_dataclass(cls):
        comments = member_comments(cls)
        fields = (field.name for field in dataclasses.fields(cls))
        yield "".join(f"- `{field}`: {comments[field]}\n" for field in fields if comments.get(field))
    public = [each for each in vars(cls) if not each.startswith("_")]
    for each in public:
        member = getattr(cls, each)
        if inspect.isfunction(member):
            yield _callable(f"{name}.{each}", member, level=level + 1)
        elif isinstance(member, property):
            yield f"{'#' * (level + 1)} {name}.{each}\n\n{_text(member)}"


def _callable(name: str, function: Any, *, level: int) -> str:
    return f"{'#' * level} {name}\n\n{_signature(name, function)}\n{_text(function)}"


def _signature(name: str, found: Any) -> str:
    """Return how it is called, one argument a line where it would be too long."""
    signature = _ANNOTATION.sub(r"\1\2", str(inspect.signature(found)))
    signature = signature.replace("(self, ", "(").replace("(self)", "()").replace("<factory>", "...")
    word = "await " if inspect.iscoroutinefunction(found) else ""
    text = f"{word}{name}{signature}"
    if len(text) > 88:
        inside, _, returned = signature.removeprefix("(").rpartition(")")
        lines = "".join(f"    {each},\n" for each in re.split(r", (?![^\[]*\])", inside))
        text = f"{word}{name}(\n{lines}){returned}"
    return f"```text\n{text}\n```\n"


def _text(found: Any) -> str:
    return docstring_text(found.__doc__ or "")


def docstring_text(docstring: str) -> str:
    """Return a docstring as Markdown: its sections become lists."""
    lines: list[str] = []
    in_section = False
    for line in inspect.cleandoc(docstring).splitlines():
        if title := _SECTION.match(line):
            lines += ["", f"**{title['title']}**", ""]
            in_section = True
        elif in_section and (entry := _ENTRY.match(line.removeprefix("    "))):
            lines.append(f"- `{entry['name']}`: {entry['text']}")
        else:
            lines.append(line.strip() if in_section else line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"
