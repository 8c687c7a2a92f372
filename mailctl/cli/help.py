"""Command groups whose help is plain text, in sections.

Typer's own rendering of help by Rich takes longer to import than all else that `--help` needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
#: Characters of the first sentence of a command's description.
_LONGEST_SUMMARY = 200


class Commands(typer.Typer):
    """Commands under one name.

    Args:
        name: of the group.
        help: what the commands are for.
        panel: the section of the parent's help.
    """

    def __init__(self, name: str, help: str, *, panel: str | None = None) -> None:
        super().__init__(
            name=name,
            help=help,
            cls=_Group,
            rich_markup_mode=None,
            rich_help_panel=panel,
            pretty_exceptions_enable=False,
            context_settings=_CONTEXT,
        )

    def add(self, name: str, function: Callable[..., None], *, panel: str | None = None) -> None:
        """Make a function the command of that name."""
        self.command(name, cls=_Command, rich_help_panel=panel)(function)


class _Command(TyperCommand):
    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_parameters(self, ctx, formatter)


class _Group(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), err=True)
            ctx.exit(ExitCode.USAGE)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        _write_sections(
            formatter,
            (
                (_panel(command, "Commands"), (name, command.get_short_help_str(_LONGEST_SUMMARY)))
                for name, command in found
                if command and not command.hidden
            ),
        )
        _write_parameters(self, ctx, formatter)


def _write_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    found = ((each, each.get_help_record(ctx)) for each in command.get_params(ctx))
    _write_sections(
        formatter,
        (
            ("Arguments" if each.param_type_name == "argument" else _panel(each, "Options"), record)
            for each, record in found
            if record
        ),
    )


def _write_sections(formatter: Any, records: Iterable[tuple[str, tuple[str, str]]]) -> None:
    """Write records under the headings they belong to, in the order in which these first appear."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for heading, record in records:
        sections.setdefault(heading, []).append(record)
    for heading, rows in sections.items():
        with formatter.section(heading):
            formatter.write_dl(rows)


def _panel(part: Any, default: str) -> str:
    panel = getattr(part, "rich_help_panel", None)
    return panel if isinstance(panel, str) else default
