"""The manual pages: one for each command, from the same texts as `--help`; the wheel contains them."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import typer

from mailctl.cli.context import CliSession
from mailctl.cli.help_text import AS_IS, EXIT_CODES, SEE_ALSO, HelpText, parameter_records
from mailctl.cli.main import SECTIONS, app
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator


_PROGRAM = "mailctl"


def man_pages(version: str) -> dict[str, str]:
    """Return the text of each page by the name of its file, such as mailctl-queue-list.1.

    Args:
        version: the version of mailctl, for the footer.
    """
    return {
        f"{_page_name(words)}.1": _page(words, command, context, version)
        for words, command, context in every_command_and_group()
    }


def every_command_and_group() -> Iterator[tuple[str, Any, Any]]:
    """Yield each command and each group with its words and its context, in the order of the help."""
    root = typer.main.get_command(app)
    yield from _walk(_PROGRAM, root, typer.Context(root, info_name=_PROGRAM, obj=CliSession()))


def _walk(words: str, command: Any, context: Any) -> Iterator[tuple[str, Any, Any]]:
    yield words, command, context
    children = getattr(command, "commands", None) or {}
    for name in children:
        child = typer.Context(children[name], info_name=name, parent=context)
        yield from _walk(f"{words} {name}", children[name], child)


def _page(words: str, command: Any, context: Any, version: str) -> str:
    text = HelpText.parse(command.help)
    summary, _, rest = text.description.partition("\n\n")
    usage = command.get_usage(context).removeprefix("Usage: ")
    title = f'.TH "{_page_name(words).upper()}" 1 "" "mailctl {version}" "mailctl manual"'
    lines = [
        title,
        *(".SH NAME", f"{_roff(_page_name(words))} \\- {_roff(_as_phrase(summary))}"),
        *(".SH SYNOPSIS", f"\\fB{_roff(words)}\\fR{_roff(' '.join(usage.split()).removeprefix(words))}"),
        *(".SH DESCRIPTION", _roff(" ".join(summary.split()))),
        *_paragraphs(rest),
        *_children(words, command),
        *_parameters(command, context),
        *_exit_status(text),
        *_see_also(words, text),
    ]
    return "\n".join(lines) + "\n"


def _paragraphs(description: str) -> Iterator[str]:
    for paragraph in filter(None, description.split("\n\n")):
        if paragraph.startswith(AS_IS):
            yield from _block(paragraph.removeprefix(AS_IS))
        else:
            yield from (".PP", _roff(" ".join(paragraph.split())))


def _block(text: str) -> Iterator[str]:
    """Yield a paragraph that is not wrapped; examples get a section of their own."""
    lines = text.splitlines()
    if not lines[0].startswith(" "):
        yield f".SH {lines.pop(0).rstrip(':').upper()}"
    yield from (".PP", ".nf", *map(_roff, inspect.cleandoc("\n".join(["", *lines])).splitlines()), ".fi")


def _children(words: str, command: Any) -> Iterator[str]:
    """Yield the commands of a group, those of the program under the headings of its help."""
    if words == _PROGRAM:
        for heading, entries in SECTIONS.items():
            yield f".SH {heading.upper()}"
            yield from _entries(words, [(entry.name, entry.summary) for entry in entries])
    elif children := getattr(command, "commands", None):
        yield ".SH COMMANDS"
        summaries = [(name, child.get_short_help_str(200)) for name, child in children.items()]
        yield from _entries(words, summaries)


def _entries(words: str, entries: list[tuple[str, str]]) -> Iterator[str]:
    for name, summary in entries:
        yield from (".TP", f"\\fB{_roff(_page_name(f'{words} {name}'))}\\fR(1)", _roff(summary))


def _parameters(command: Any, context: Any) -> Iterator[str]:
    before = ""
    for heading, (name, text) in parameter_records(command, context):
        if heading != before:
            yield f".SH {heading.upper()}"
        before = heading
        yield from (".TP", f"\\fB{_roff(name)}\\fR", _roff(text))


def _exit_status(text: HelpText) -> Iterator[str]:
    lines = text.tail.get(EXIT_CODES) or [f"{int(code)}  {code.meaning}" for code in ExitCode]
    yield ".SH EXIT STATUS"
    for code, _, meaning in (line.partition("  ") for line in lines):
        yield from (".TP", f"\\fB{code}\\fR", _roff(meaning))


def _see_also(words: str, text: HelpText) -> Iterator[str]:
    related = [name for line in text.tail.get(SEE_ALSO, ()) for name in line.split(", ")]
    parent = words.rpartition(" ")[0]
    pages = dict.fromkeys([*related, *([parent] if parent else [])])
    if pages:
        yield ".SH SEE ALSO"
        yield ", ".join(f"\\fB{_roff(_page_name(each))}\\fR(1)" for each in pages)


def _page_name(words: str) -> str:
    return words.replace(" ", "-")


def _as_phrase(summary: str) -> str:
    """Return a sentence as `whatis` shows it: without its period, on one line."""
    return " ".join(summary.split()).rstrip(".")


def _roff(text: str) -> str:
    """Return a text without characters that roff would read as its own."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", escaped, flags=re.MULTILINE)
