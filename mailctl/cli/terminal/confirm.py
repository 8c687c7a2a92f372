"""Questions to the operator: confirmations and secrets."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from mailctl.domain.unicode_safety import escape_controls_as_line
from mailctl.errors import MailctlError, Refused, Unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def confirm(question: str, *, is_confirmed: bool, fix: str = "Add --yes to confirm.") -> None:
    """Ask the operator to confirm, unless --yes has done so already.

    Args:
        question: a sentence that ends with a question mark.
        is_confirmed: whether --yes was given.
        fix: what to do when stdin is not a terminal.

    Raises:
        Refused: the answer is no, or stdin is not a terminal.
        Unanswered: the operator pressed Ctrl-C or Ctrl-D.
    """
    if is_confirmed:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{question} This needs confirmation, and stdin is not a terminal.", fix=fix)
    with _handle_interrupted_prompt():
        has_agreed = typer.confirm(escape_controls_as_line(question), err=True)
    if not has_agreed:
        raise Refused("Nothing was done.")


def ask(
    question: str,
    *,
    default: str | None = None,
    may_be_empty: bool = False,
    check: Callable[[str], object] | None = None,
) -> str:
    """Ask for a value on the terminal, again while it is invalid.

    Args:
        question: what is asked for, without a question mark.
        default: the value of an empty answer; None asks again.
        may_be_empty: whether the default is empty, and so is not shown.
        check: raises a `MailctlError` for an invalid value; None accepts each.

    Raises:
        Unanswered: the operator pressed Ctrl-C or Ctrl-D.
    """
    shown = escape_controls_as_line(question)
    while True:
        with _handle_interrupted_prompt():
            answer = typer.prompt(shown, default=default, show_default=not may_be_empty, err=True)
        value = str(answer).strip()
        try:
            if check is not None:
                check(value)
        except MailctlError as error:
            typer.echo(escape_controls_as_line(f"{error} {error.fix}".rstrip()), err=True)
        else:
            return value


def ask_secret(name: str) -> str:
    """Ask for a value on the terminal without echoing it.

    Raises:
        Unanswered: the operator pressed Ctrl-C or Ctrl-D.
    """
    import getpass

    with _handle_interrupted_prompt():
        return getpass.getpass(f"{name}: ")


@contextmanager
def _handle_interrupted_prompt() -> Iterator[None]:
    try:
        yield
    except (typer.Abort, KeyboardInterrupt, EOFError):
        # The cursor is still in the line of the prompt.
        typer.echo(err=True)
        raise Unanswered("Nothing was done.") from None
