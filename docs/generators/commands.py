"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import typer

from docs.generators.markdown import code, escape, table
from mailctl.cli.context import CliSession
from mailctl.cli.help_text import help_record
from mailctl.cli.main import app
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHARED = "Shared options"
#: How a paragraph begins that `--help` does not wrap.
_AS_IS = "\b\n"


def every_command() -> Iterator[tuple[str, Any, Any]]:
    """Yield each command's words, the command and its context, in the order of the help."""
    root = typer.main.get_command(app)
    yield from _walk("mailctl", root, typer.Context(root, info_name="mailctl", obj=CliSession()))


def _walk(words: str, command: Any, context: Any) -> Iterator[tuple[str, Any, Any]]:
    children = getattr(command, "commands", None) or {}
    if not children:
        yield words, command, context
    for name in children:
        child = children[name]
        yield from _walk(f"{words} {name}", child, typer.Context(child, info_name=name, parent=context))


def commands() -> str:
    """Return a section for each command: what it does, how it is called, its options."""
    parts = []
    for words, command, context in every_command():
        usage = command.get_usage(context).removeprefix("Usage: ")
        text = description(inspect.cleandoc(command.help or ""))
        parts.append(f"## {words}\n\n{text}\n\n```text\n{usage}\n```\n\n{_parameters(command, context)}")
    return "\n".join(parts)


def description(text: str) -> str:
    """Return a help text in Markdown: examples and lists, which `--help` does not wrap, become blocks."""
    return "\n\n".join(map(_paragraph, text.split("\n\n")))


def _paragraph(text: str) -> str:
    if not text.startswith(_AS_IS):
        return escape(text)
    lines = text.removeprefix(_AS_IS).splitlines()
    heading = [line for line in lines if not line.startswith(" ")]
    block = inspect.cleandoc("\n".join(["", *(line for line in lines if line.startswith(" "))]))
    return "\n\n".join([*heading, f"```text\n{block}\n```"])


def shared_options() -> str:
    """Return the options that every command has."""
    _, command, context = next(every_command())
    return table(["option", "meaning"], _rows(command, context, shared=True))


def _parameters(command: Any, context: Any) -> str:
    rows = list(_rows(command, context, shared=False))
    return table(["argument or option", "meaning"], rows) if rows else ""


def _rows(command: Any, context: Any, *, shared: bool) -> Iterator[list[str]]:
    for parameter in command.get_params(context):
        record = help_record(parameter, context)
        is_shared = getattr(parameter, "rich_help_panel", None) == _SHARED
        if record and is_shared == shared and parameter.name != "help":
            yield [code(record[0]), escape(record[1])]


def exit_codes() -> str:
    """Return the exit codes and what each says."""
    return table(["exit code", "meaning"], ([str(int(each)), escape(each.meaning)] for each in ExitCode))
