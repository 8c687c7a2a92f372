"""Help as plain text: the parameters of a command under their headings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailctl.cli.context import SHARED_OPTIONS_PANEL

if TYPE_CHECKING:
    from collections.abc import Iterable

_ARGUMENTS = "Arguments"
_OPTIONS = "Options"


def write_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    """Write arguments, then the command's own options, then the shared ones."""
    found = [(_panel(each), help_record(each, ctx)) for each in command.get_params(ctx)]
    headings = dict.fromkeys((_ARGUMENTS, _OPTIONS, *(heading for heading, _ in found)))
    order = [*(heading for heading in headings if heading != SHARED_OPTIONS_PANEL), SHARED_OPTIONS_PANEL]
    records = [(heading, record) for heading, record in found if record]
    write_sections(formatter, sorted(records, key=lambda record: order.index(record[0])))


def help_record(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    """Return the name of a parameter and its help; None for a hidden one."""
    record: tuple[str, str] | None = parameter.get_help_record(ctx)
    if record is None or parameter.param_type_name != "argument":
        return record
    # Typer appends the type, such as " <list[str]>", even where the argument has a metavar.
    return record[0].partition(" <")[0], record[1]


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
