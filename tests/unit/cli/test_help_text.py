"""The help of a command: its description, then its parameters, then exit codes and related commands."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.cli.context import SHARED_OPTIONS_PANEL
from mailctl.cli.help_text import HelpText, help_record, parameter_records, usage_pieces

DOCSTRING = """List emails.

    Newest first.

    \b
    Exit codes:
      0 done
      3 not found

    \b
    See also:
      mailctl status
    """


def parameter(name: str, *, kind: str = "option", panel: str | None = None, text: str = "") -> Any:
    """Return a parameter as the command-line library describes it."""
    return SimpleNamespace(
        param_type_name=kind, rich_help_panel=panel, get_help_record=lambda _: (name, text) if name else None
    )


def test_a_docstring_has_a_description_and_a_tail() -> None:
    """The paragraphs about exit codes and related commands come after the parameters."""
    found = HelpText.parse(DOCSTRING)
    assert found.description == "List emails.\n\nNewest first."
    assert found.tail == {"Exit codes": ("0 done", "3 not found"), "See also": ("mailctl status",)}


def test_a_command_without_a_docstring_has_no_help() -> None:
    """And no error."""
    assert HelpText.parse(None) == HelpText(description="", tail={})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A port.  [1<=x<=65535]", "A port.  [1 to 65535]"),
        ("A rate.  [x>=0]", "A rate.  [at least 0]"),
        ("A count.  [default: 5; x<=9]", "A count.  [default: 5; at most 9]"),
        ("No range.", "No range."),
    ],
)
def test_a_range_is_said_in_words(text: str, shown: str) -> None:
    """Not as a formula."""
    assert help_record(parameter("--x", text=text), None) == ("--x", shown)


def test_an_argument_has_no_type_beside_its_name() -> None:
    """Whoever reads the help writes no Python."""
    assert help_record(parameter("[ID]... <list[str]>", kind="argument"), None) == ("[ID]...", "")


def test_arguments_come_first_and_shared_options_last() -> None:
    """Hidden parameters are left out."""
    params = [
        parameter("--json", panel=SHARED_OPTIONS_PANEL),
        parameter("--state", panel="Filters"),
        parameter("--limit"),
        parameter("ID", kind="argument"),
        parameter(""),
    ]
    command: Any = SimpleNamespace(get_params=lambda _: params)
    assert [(heading, name) for heading, (name, _) in parameter_records(command, None)] == [
        ("Arguments", "ID"),
        ("Options", "--limit"),
        ("Filters", "--state"),
        (SHARED_OPTIONS_PANEL, "--json"),
    ]


def test_a_required_argument_has_no_braces() -> None:
    """No other program writes them."""
    assert usage_pieces(["[OPTIONS]", "{ID}..."]) == ["[OPTIONS]", "ID..."]
