"""The help of every command: complete, consistent, and with examples that work."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import typer

from mailctl.cli.context import CliSession
from mailctl.cli.help_text import EXIT_CODES, SEE_ALSO, HelpText
from mailctl.cli.main import app
from mailctl.errors import ExitCode
from tests.acceptance.every_command import ROWS
from tests.command_line import parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: An example: an indented line that begins with the name of the program.
EXAMPLE = re.compile(r"^ +mailctl (.+)$", re.MULTILINE)
#: What no help says: words that are not those of the field.
ODD_WORDS = re.compile(r"\b(tell|told|whom|mend|anew|goes on|let|whoever)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Help:
    """The help of one command."""

    name: str
    command: Any
    #: As it is printed on a terminal of 80 columns.
    text: str
    #: The sentence about it in the help of its group.
    summary: str

    @property
    def is_group(self) -> bool:
        """Whether it has commands of its own."""
        return hasattr(self.command, "commands")


@cache
def all_help() -> dict[str, Help]:
    """Return the help of every command by its full name."""

    def walk(command: Any, name: str, summary: str, parent: Any = None) -> Iterator[Help]:
        context = command.make_context(
            name.rpartition(" ")[2], [], parent=parent, resilient_parsing=True, obj=CliSession()
        )
        yield Help(name=name, command=command, text=command.get_help(context), summary=summary)
        for child in getattr(command, "commands", ()):
            found = command.commands[child]
            yield from walk(found, f"{name} {child}", found.get_short_help_str(200), context)

    return {found.name: found for found in walk(typer.main.get_command(app), "mailctl", "")}


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def test_the_summary_of_a_command_is_the_first_sentence_of_its_help() -> None:
    """The root's help repeats it, as it imports no command."""
    root = all_help()["mailctl"].text
    for name, found in all_help().items():
        if name.count(" ") == 1:
            assert found.summary in " ".join(root.split()), name


def test_every_command_begins_with_a_sentence_in_the_imperative() -> None:
    """Such as "List emails, newest first."."""
    for name, found in all_help().items():
        if name != "mailctl":
            assert re.match(r"[A-Z][a-z]+\b.*\.$", found.summary), name
            assert not re.match(r"(The|What|Who|Whether)\b", found.summary), name


def test_every_option_and_argument_says_what_it_does() -> None:
    """In a sentence, and with a name for its value instead of its type."""
    for name, found in all_help().items():
        for parameter in found.command.params:
            assert re.match(r"[A-Z].*\.$", parameter.help or ""), (name, parameter.name)
        assert not re.search(r"<(?:str|int|float|path|list)\b", found.text), name


def test_every_example_is_a_command_that_exists() -> None:
    """With its options; what stands after a pipe is one, too."""
    examples = [
        (name, line)
        for name, found in all_help().items()
        for line in EXAMPLE.findall(
            re.sub(r"(\| )(?=mailctl)", r"\n ", HelpText.parse(found.command.help).description)
        )
    ]
    assert len(examples) > 50
    for name, line in examples:
        parse(shlex.split(re.split(r" [|>] ", line)[0])), name


def test_help_fits_80_columns() -> None:
    """Examples are not wrapped, and so have to be short."""
    for name, found in all_help().items():
        assert max(len(line) for line in found.text.splitlines()) <= 80, name


def test_shared_options_come_last() -> None:
    """Of the options: what a command itself takes is what its reader looks for."""
    for name, found in all_help().items():
        headings = re.findall(r"^([A-Z].*):$", found.text, re.MULTILINE)
        assert "Options" in headings, name
        if not found.is_group:
            assert headings[-3:] == ["Shared options", "Exit codes", "See also"], name


def test_every_exit_code_of_a_command_is_one_that_there_is() -> None:
    """And each that the rows of all commands end with is explained."""
    for name, found in all_help().items():
        if found.is_group:
            continue
        lines = HelpText.parse(found.command.help).tail[EXIT_CODES]
        codes = [int(line.split("  ")[0]) for line in lines]
        assert codes == sorted(set(codes) & set(ExitCode)), name
        assert all(re.fullmatch(r"\d+  [A-Z].*\.", line) for line in lines), name
        ends = {row.code for row in ROWS if f"mailctl {row.command}" == name} - {ExitCode.INTERRUPTED}
        assert ends <= set(codes), name


def test_every_related_command_exists() -> None:
    """And is another one."""
    for name, found in all_help().items():
        for line in HelpText.parse(found.command.help).tail.get(SEE_ALSO, ()):
            related = line.split(", ")
            assert set(related) <= set(all_help()) - {name}, name


def test_every_command_has_an_example() -> None:
    """Which a reader can copy."""
    single = {name: found.text for name, found in all_help().items() if not found.is_group}
    assert [name for name, text in single.items() if not EXAMPLE.search(text)] == []


def test_usage_names_values_without_braces_and_types() -> None:
    """As other programs do; newer versions of Typer add dots where several may be given."""
    for name, found in all_help().items():
        assert not re.search(r"[{}<>]", found.text.partition("\n")[0]), name
    assert re.match(r"Usage: mailctl status \[OPTIONS\] ID(\.\.\.)?\n", all_help()["mailctl status"].text)
    assert "[default: 20; 1 to 1000]" in " ".join(all_help()["mailctl queue peek"].text.split())


def test_help_has_the_words_of_the_field() -> None:
    """And no others."""
    assert [name for name, found in all_help().items() if ODD_WORDS.search(found.text)] == []
