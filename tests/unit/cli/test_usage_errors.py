"""Sentences about wrong usage: what is wrong, and what was probably meant."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.cli.usage_errors import (
    meant_commands,
    meant_kind,
    unexpected_argument,
    unknown_command,
    usage_sentence,
)


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
        ({"possibilities": ["--to"], "option_name": "--foo"}, "There is no option --foo."),
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


@pytest.mark.parametrize(
    ("typed", "known", "sentence"),
    [
        ("lst", ["list", "show"], "There is no command 'lst'. Did you mean 'list'?"),
        (
            "spring",
            ["list", "show"],
            "There is no command 'spring'. Did you mean 'mailctl campaign show spring'?",
        ),
        ("spring", ["list"], "There is no command 'spring'."),
    ],
)
def test_the_name_of_an_object_in_place_of_a_command_is_understood(
    typed: str, known: list[str], sentence: str
) -> None:
    """`mailctl campaign spring` means its `show`."""
    assert unknown_command("mailctl campaign", typed, known) == sentence


@pytest.mark.parametrize(
    ("path", "typed", "hint"),
    [
        ("mailctl", "nix", ""),
        ("mailctl", "deadbeef", ""),
        ("mailctl", "3f2a", " Did you mean 'mailctl show 3f2a'?"),
        ("mailctl config", "nix", ""),
    ],
)
def test_only_an_id_is_taken_for_an_email_to_show(path: str, typed: str, hint: str) -> None:
    """Of all commands, `show` takes an id; that of `config` takes nothing."""
    assert unknown_command(path, typed, ["show"]) == f"There is no command {typed!r}.{hint}"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("reset-password", "Did you mean 'reset'?"),
        ("password", "Did you mean 'reset'?"),
        ("ada@example.com", "Name the kind before the address: mailctl send welcome --email ada@example.com"),
        ("nothing", ""),
    ],
)
def test_what_is_no_kind_of_emails_names_the_kind_that_was_meant(typed: str, meant: str) -> None:
    """Also an address, which comes after the kind."""
    assert meant_kind("mailctl send", typed, ["welcome", "reset"]) == meant


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("ada@example.com", "Unexpected argument 'ada@example.com'. Did you mean --email ada@example.com?"),
        ("ada", "Unexpected argument 'ada'."),
    ],
)
def test_an_address_without_its_option_names_the_option(word: str, sentence: str) -> None:
    """Only where the command has it."""
    assert unexpected_argument(word, ["--user-id", "--email"]) == sentence
    assert unexpected_argument(word, []) == f"Unexpected argument {word!r}."
