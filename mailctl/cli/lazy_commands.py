"""Command groups that import a command only when it is called, and print their help as plain text.

Typer's Rich help takes longer to import than everything else that `--help` needs.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typing_extensions import override

from mailctl.cli.completion_scripts import use_own_scripts
from mailctl.cli.context import OutputClosed, make_command, session_of
from mailctl.cli.help_text import (
    usage_pieces,
    write_description,
    write_parameters,
    write_sections,
    write_tail,
)
from mailctl.cli.usage_errors import meant_kind, name_of_parameter, unexpected_argument, unknown_command
from mailctl.errors import ExitCode, UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mailctl.cli.context import CliSession

    #: Returns the functions of commands by name.
    _CommandSource = Callable[[CliSession], Mapping[str, Callable[..., None]]]

_ENV_FILE = "--env-file"
#: The parameter with the arguments of Flower, which may be empty.
_FLOWER_ARGUMENTS = "arguments"
_HELP = "help"
#: What `mailctl help` explains besides commands.
HELP_TOPICS = ("exit-codes",)
_CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
#: Maximum length of a command's summary in the help of its group, in characters.
_MAX_SUMMARY_LENGTH = 200


@dataclass(frozen=True)
class LazyCommand:
    """A command that is imported when it is called.

    Args:
        name: the name of the command.
        import_path: MODULE:ATTRIBUTE of its function or `CommandGroup`.
        summary: the first sentence of its help, so that the root's help need not import it.
    """

    name: str
    import_path: str
    summary: str


class CommandGroup(typer.Typer):
    """Commands under a common name.

    Args:
        name: the name of the group.
        help: what the commands are for.
        sections: the commands of the root by the heading of their section in its help; None for other groups.
        default: the command to run if none is named; None prints the help instead.
        more: returns further commands by name, which are known only after the settings are read.
        noun: what the names of these commands are, such as "kind".
    """

    def __init__(
        self,
        name: str,
        help: str,
        *,
        sections: Mapping[str, Sequence[LazyCommand]] | None = None,
        default: str | None = None,
        more: _CommandSource | None = None,
        noun: str = "command",
    ) -> None:
        super().__init__(
            name=name,
            help=help,
            cls=_group_class(sections, more=more, noun=noun, default=default),
            add_completion=sections is not None,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
            context_settings=_CONTEXT_SETTINGS,
        )

    def add(self, name: str, function: Callable[..., None], *, takes_anything: bool = False) -> None:
        """Add a command.

        Args:
            name: the name of the command.
            function: its body; its first parameter is the session.
            takes_anything: whether unknown options are passed on as arguments.
        """
        settings = {**_CONTEXT_SETTINGS, "ignore_unknown_options": takes_anything}
        self.command(name, cls=_Command, context_settings=settings)(make_command(function))


class _CommandMixin:
    """The common behavior of commands and groups: plain help, and no empty values."""

    def make_parser(self, ctx: Any) -> Any:
        parser = super().make_parser(ctx)  # type: ignore[misc]  # of the other base class
        parser.parse_args = partial(_parse_values, ctx, parser.parse_args)
        return parser

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return usage_pieces(super().collect_usage_pieces(ctx))  # type: ignore[misc]  # of the other base class

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as Click calls it
        write_description(self, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as Click calls it
        write_tail(self, formatter)


def _parse_values(ctx: Any, parse: Callable[..., Any], args: list[str]) -> Any:
    """Parse arguments and options, and refuse empty values, such as those of unset shell variables.

    An empty filter, for example, would match every email, and no queue has an empty name. If the default of
    a parameter is empty, an empty value means the same as leaving it out.
    """
    values, left, order = parse(args=args)
    if ctx.resilient_parsing:
        return values, left, order
    for parameter in ctx.command.params:
        may_be_empty = parameter.default == "" or parameter.name == _FLOWER_ARGUMENTS
        if not may_be_empty and any(map(_is_empty, _as_sequence(values.get(parameter.name)))):
            fix = "Give one." if parameter.required else "Give one, or leave it out."
            ctx.fail(f"{name_of_parameter(parameter)} has an empty value. {fix}")
    return values, left, order


def _as_sequence(given: object) -> Sequence[object]:
    return given if isinstance(given, (list, tuple)) else (given,)


def _is_empty(value: object) -> bool:
    """Whether a value has no text, or is a list of such values."""
    return isinstance(value, str) and not value.replace(",", " ").strip()


class _Command(_CommandMixin, TyperCommand):
    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.allow_extra_args = True
        left: list[str] = super().parse_args(ctx, args)
        if left and not ctx.resilient_parsing:
            options = [name for each in self.params for name in each.opts]
            ctx.fail(unexpected_argument(left[0], options))
        return left

    @override
    def format_options(self, ctx: Any, formatter: Any) -> None:
        write_parameters(self, ctx, formatter)


class _Group(_CommandMixin, TyperGroup):
    default: str | None = None

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else "-"
        if self.default and first.startswith("-") and first not in ctx.help_option_names:
            args = [self.default, *args]
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            ctx.exit(ExitCode.DONE)
        return super().parse_args(ctx, args)

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            self.refuse_unknown(ctx, args[0])
        return super().resolve_command(ctx, args)

    def refuse_unknown(self, ctx: Any, name: str) -> None:
        """Refuse a command that does not exist."""
        ctx.fail(unknown_command(ctx.command_path, name, self.list_commands(ctx)))

    @override
    def format_options(self, ctx: Any, formatter: Any) -> None:
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        write_sections(
            formatter,
            (
                ("Commands", (name, found.get_short_help_str(_MAX_SUMMARY_LENGTH)))
                for name, found in commands
                if found and not found.hidden
            ),
        )
        write_parameters(self, ctx, formatter)


def _group_class(
    sections: Mapping[str, Sequence[LazyCommand]] | None,
    *,
    more: _CommandSource | None,
    noun: str,
    default: str | None,
) -> type[TyperGroup]:
    if sections is not None:
        return _root_group_class(sections)
    if more is not None:
        return _dynamic_group_class(more, noun)
    return type("_GroupWithDefault", (_Group,), {"default": default})


class _LazyCommandMapping(MutableMapping[str, Any]):
    """Commands by name, each imported on first access."""

    def __init__(self, entries: Iterable[LazyCommand]) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._commands: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._commands:
            self._commands[name] = _import_command(self._entries[name])
        return self._commands[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _import_command(entry: LazyCommand) -> Any:
    module, _, attribute = entry.import_path.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if isinstance(found, CommandGroup):
        return typer.main.get_command(found)
    return _single_command(entry.name, found)


def _dynamic_group_class(more: _CommandSource, noun: str) -> type[TyperGroup]:
    """Return the class of a group that looks up further commands when none of its own matches."""

    class Open(_Group):
        @override
        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            return super().get_command(ctx, cmd_name) or self._more(ctx).get(cmd_name)

        @override
        def list_commands(self, ctx: Any) -> list[str]:
            return [*super().list_commands(ctx), *self._more(ctx)]

        @override
        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            # The settings define further commands, and --env-file may stand after the command's name.
            session_of(ctx).merge_options({"env_file": _env_file_in(args)})
            return super().resolve_command(ctx, args)

        @override
        def refuse_unknown(self, ctx: Any, name: str) -> None:
            known = self.list_commands(ctx)
            error = UnknownName(noun, name, known, is_service_defined=True)
            error.fix = meant_kind(ctx.command_path, name, known) or error.fix
            raise error

        def _more(self, ctx: Any) -> Mapping[str, Any]:
            return {name: _single_command(name, body) for name, body in more(session_of(ctx)).items()}

    return Open


def _single_command(name: str, body: Callable[..., None]) -> Any:
    alone = CommandGroup(name, "")
    alone.add(name, body)
    return typer.main.get_command(alone)


def _env_file_in(args: Sequence[str]) -> Path | None:
    for position, word in enumerate(args):
        option, equals, value = word.partition("=")
        if option == _ENV_FILE:
            following = args[position + 1 : position + 2]
            return Path(value) if equals else Path(*following) if following else None
    return None


def _help_of(ctx: Any, args: list[str]) -> list[str]:
    """Return the words of the command whose help is asked for: `help queue list` is `queue list --help`."""
    options = list(takewhile(lambda word: word.startswith("-"), args[1:]))
    words = args[1 + len(options) :]
    if words:
        return args if words[0] in HELP_TOPICS else [*words, *options, "--help"]
    if not set(options) & set(ctx.help_option_names):
        typer.echo(ctx.get_help())
        ctx.exit(ExitCode.DONE)
    return args


@contextmanager
def _closed_output() -> Iterator[None]:
    """Raise `OutputClosed` where Typer would exit with 1: a reader such as `head` has got all it needs."""
    try:
        yield
    except BrokenPipeError:
        raise OutputClosed from None


def _root_group_class(sections: Mapping[str, Sequence[LazyCommand]]) -> type[TyperGroup]:
    """Return the class of a group with these commands; its help imports none of them."""

    class Root(_Group):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.commands = _LazyCommandMapping(entry for entries in sections.values() for entry in entries)

        @override
        def make_context(self, *arguments: Any, **more: Any) -> Any:
            with _closed_output():  # it prints the help that --help and --version ask for
                return super().make_context(*arguments, **more)

        @override
        def invoke(self, ctx: Any) -> Any:
            with _closed_output():
                return super().invoke(ctx)

        @override
        def list_commands(self, ctx: Any) -> list[str]:
            return list(self.commands)

        @override
        def get_params(self, ctx: Any) -> list[Any]:
            parameters: list[Any] = super().get_params(ctx)
            use_own_scripts(parameters)
            return parameters

        @override
        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            return super().resolve_command(ctx, _help_of(ctx, args) if args[0] == _HELP else args)

        @override
        def format_options(self, ctx: Any, formatter: Any) -> None:
            records = (
                (heading, (entry.name, entry.summary))
                for heading, entries in sections.items()
                for entry in entries
            )
            write_sections(formatter, records)
            write_parameters(self, ctx, formatter)

    return Root
