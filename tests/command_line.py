"""The command line as a parser: whether a command that somebody wrote down exists, with its options."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import typer

from mailctl.cli.context import CliSession
from mailctl.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse(words: Sequence[str]) -> dict[str, Any]:
    """Parse a command as the real one does, without running it.

    Args:
        words: those after `mailctl`.

    Returns:
        What each parameter got; nothing where the help is asked for.

    Raises:
        TyperException: there is no such command or option, or a value is not usable.
    """
    command, context, name, rest = _root(), None, "mailctl", list(words)
    try:
        while True:
            context = command.make_context(name, rest, parent=context, obj=CliSession())
            rest = [*getattr(context, "_protected_args", ()), *context.args]
            if not hasattr(command, "resolve_command"):
                return dict(context.params)
            name, command, rest = command.resolve_command(context, rest)
    except typer.Exit:
        return {}


@cache
def _root() -> Any:
    """Return the command that has all others; each is made when it is first asked for."""
    return typer.main.get_command(app)
