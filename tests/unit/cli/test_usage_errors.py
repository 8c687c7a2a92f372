"""Sentences about wrong usage: what is wrong, and what was probably meant."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.cli.usage_errors import meant_commands, usage_sentence


def parameter(*names: str, kind: str = "option", **limits: Any) -> Any:
    """Return an option or an argument."""
    return SimpleNamespace(
        param_type_name=kind, opts=list(names), metavar="ID", type=SimpleNamespace(**limits)
    )


PORT = parameter("--port", min=1, max=65535)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ({"possibilities": ["--queue"], "option_name": "--quue"}, "no option --quue. Did you mean --queue?"),
        ({"possibilities": [], "option_name": "--x"}, "There is no option --x."),
        ({"possibilities": None, "option_name": "-o", "format_message": str}, "There is no option -o."),
        ({"param": parameter("--to"), "param_type": None}, "The option --to is missing."),
        ({"param": parameter("id", kind="argument"), "param_type": None}, "The argument ID is missing."),
        ({"param": PORT}, "--port must be a number from 1 to 65535."),
        ({"param": parameter("--rate", min=0)}, "--rate must be a number of at least 0."),
        ({"param": parameter("--rate", max=9)}, "--rate must be a number of at most 9."),
        (
            {"param": parameter("--to"), "format_message": lambda: "Value error, it is no address"},
            "it is no address.",
        ),
        ({"format_message": lambda: "Did you mean that?"}, "Did you mean that?"),
    ],
)
def test_each_mistake_is_a_sentence(error: dict[str, Any], sentence: str) -> None:
    """With the command whose help to read, if it is known."""
    given: Any = SimpleNamespace(**error)
    assert usage_sentence(given).endswith(sentence)
    given.ctx = SimpleNamespace(command_path="mailctl send")
    assert usage_sentence(given).endswith(f"{sentence} See `mailctl send --help`.")


@pytest.mark.parametrize(
    ("typed", "known", "meant"),
    [
        ("stop", ["list", "pause", "resume", "cancel"], ["pause", "cancel"]),
        ("slow", ["list", "show", "set-rate"], ["set-rate"]),
        ("stop", ["list", "campaign", "queue"], ["campaign pause", "queue pause"]),
        ("delete", ["release", "cancel", "prune"], ["cancel", "prune"]),
        ("migrate", ["list", "db"], ["db upgrade"]),
        ("lst", ["list", "show"], ["list"]),
        ("nothing", ["list", "show"], []),
    ],
)
def test_another_word_for_a_command_names_it(typed: str, known: list[str], meant: list[str]) -> None:
    """Rather than the command that is spelt most like it: `slow` is not `show`."""
    assert meant_commands(typed, known) == meant
