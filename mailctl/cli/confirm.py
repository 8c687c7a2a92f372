"""Asking before something is done that cannot be undone."""

from __future__ import annotations

import sys

import typer

from mailctl.characters import visible_line
from mailctl.errors import Refused


def confirm(question: str, *, is_sure: bool, fix: str = "Add --yes.") -> None:
    """Ask the operator, unless it was said beforehand; without a terminal nobody can answer.

    Args:
        question: ends with a question mark.
        is_sure: whether --yes was given.
        fix: what to do where nobody is here to answer.

    Raises:
        Refused: the answer is no, or nobody is there to give one.
    """
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{question} Nobody is here to answer.", fix=fix)
    if not typer.confirm(visible_line(question), err=True):
        raise Refused("Nothing was done.")
