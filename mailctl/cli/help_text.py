"""Help as plain text: description, parameters under their headings, exit codes, related commands.

The docstring of a command holds all of it but the parameters. The paragraphs that begin with one of
`TAIL_HEADINGS` come last.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mailctl.cli.context import SHARED_OPTIONS_PANEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EXIT_CODES = "Exit codes"
SEE_ALSO = "See also"
TAIL_HEADINGS = (EXIT_CODES, SEE_ALSO)
#: How a paragraph begins that is not wrapped.
AS_IS = "\b\n"
_ARGUMENTS = "Arguments"
_OPTIONS = "Options"
_RANGE = re.compile(r"(?:(?P<low>[\d.]+)<=)?x(?:(?P<sign>[<>]=)(?P<high>[\d.]+))?(?=[;\]])")


@dataclass(frozen=True, kw_only=True)
class HelpText:
    """The text of a command's help.

    Args:
        description: the paragraphs before the parameters.
        tail: the lines under each heading after the parameters.
    """

    description: str
    tail: dict[str, tuple[str, ...]]

    @classmethod
    def parse(cls, docstring: str | None) -> HelpText:
        """Return the parts of a docstring."""
        description, tail = [], {}
        for paragraph in inspect.cleandoc(docstring or "").split("\n\n"):
            heading, *lines = paragraph.removeprefix(AS_IS).splitlines() or [""]
            if heading.rstrip(":") in TAIL_HEADINGS:
                tail[heading.rstrip(":")] = tuple(line.strip() for line in lines)
            else:
                description.append(paragraph)
        return cls(description="\n\n".join(description), tail=tail)


def write_description(command: Any, formatter: Any) -> None:
    """Write what a command does, with its examples."""
    if text := HelpText.parse(command.help).description:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(text)


def write_tail(command: Any, formatter: Any) -> None:
    """Write the exit codes and the related commands."""
    for heading, lines in HelpText.parse(command.help).tail.items():
        with formatter.section(heading):
            formatter.write_text(AS_IS + "\n".join(lines))


def usage_pieces(pieces: Sequence[str]) -> list[str]:
    """Return the words of a usage line; a required argument has no braces, which no other program writes."""
    return [re.sub(r"^\{(.*)\}", r"\1", piece) for piece in pieces]


def write_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    """Write arguments, then the command's own options, then the shared ones."""
    write_sections(formatter, parameter_records(command, ctx))


def parameter_records(command: Any, ctx: Any) -> list[tuple[str, tuple[str, str]]]:
    """Return the heading, the name and the help of each parameter, in the order of the help."""
    found = [(_panel(each), help_record(each, ctx)) for each in command.get_params(ctx)]
    headings = dict.fromkeys((_ARGUMENTS, _OPTIONS, *(heading for heading, _ in found)))
    order = [*(heading for heading in headings if heading != SHARED_OPTIONS_PANEL), SHARED_OPTIONS_PANEL]
    records = [(heading, record) for heading, record in found if record]
    return sorted(records, key=lambda record: order.index(record[0]))


def help_record(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    """Return the name of a parameter and its help; None for a hidden one."""
    record: tuple[str, str] | None = parameter.get_help_record(ctx)
    if record is None:
        return None
    name, text = record
    if parameter.param_type_name == "argument":
        # Typer appends the type, such as " <list[str]>", even where the argument has a metavar.
        name = name.partition(" <")[0]
    return name, _RANGE.sub(_describe_range, text)


def _describe_range(found: re.Match[str]) -> str:
    """Return Typer's description of a range of numbers, such as 0<=x<=9, in words."""
    low, sign, high = found["low"], found["sign"], found["high"]
    if low and high:
        return f"{low} to {high}"
    return f"at most {high}" if sign == "<=" else f"at least {low or high}"


def write_sections(formatter: Any, records: Iterable[tuple[str, tuple[str, str]]]) -> None:
    """Write records under their headings, in the order in which the headings first appear."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for heading, record in records:
        sections.setdefault(heading, []).append(record)
    for heading, rows in sections.items():
        with formatter.section(heading):
            formatter.write_dl(rows)


def _panel(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return _ARGUMENTS
    panel = getattr(parameter, "rich_help_panel", None)
    return panel if isinstance(panel, str) else _OPTIONS
