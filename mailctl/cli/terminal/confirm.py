"""Questions to the operator: whether to do it, and what no argument may hold."""

from __future__ import annotations

import getpass
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from mailctl.errors import Refused, Unanswered
from mailctl.unicode_safety import escape_controls_as_line

if TYPE_CHECKING:
    from collections.abc import Iterator


def confirm(question: str, *, is_sure: bool, fix: str = "Add --yes.") -> None:
    """Ask the operator, unless it was said beforehand; without a terminal nobody can answer.

    Args:
        question: ends with a question mark.
        is_sure: whether --yes was given.
        fix: what to do where nobody is here to answer.

    Raises:
        Refused: the answer is no, or nobody is there to give one.
        Unanswered: Ctrl-C.
    """
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{question} Nobody is here to answer.", fix=fix)
    with _answered():
        is_wanted = typer.confirm(escape_controls_as_line(question), err=True)
    if not is_wanted:
        raise Refused("Nothing was done.")


def ask_secret(name: str) -> str:
    """Ask the operator on the terminal for something that is not shown while it is typed.

    Raises:
        Unanswered: Ctrl-C.
    """
    with _answered():
        return getpass.getpass(f"{name}: ")


@contextmanager
def _answered() -> Iterator[None]:
    """End the line of a question that is left without an answer, for what is printed next."""
    try:
        yield
    except (typer.Abort, KeyboardInterrupt, EOFError):
        typer.echo(err=True)
        raise Unanswered("Nothing was done.") from None
