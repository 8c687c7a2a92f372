"""Command groups: defaults, further commands, and where options are looked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.lazy_commands import CommandGroup, _env_file_in
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode, InvalidInput


@uses_log(AccessMode.OPTIONAL)
def show(session: CliSession, name: str = "nobody") -> None:
    """Show a name."""
    session.output.line(f"name {name} json {session.output.as_json}")


def run(group: CommandGroup, *arguments: str) -> Any:
    """Run a command, and return its exit code."""
    return group(args=list(arguments), standalone_mode=False, obj=CliSession())


def test_a_group_may_have_a_default_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Its options need no name of a command before them."""
    group = CommandGroup("group", "A group.", default="show")
    group.add("show", show)
    group.add("other", show)
    run(group)
    run(group, "--name", "ada", "--json")
    assert capsys.readouterr().out == "name nobody json False\nname ada json True\n"


def test_a_group_without_one_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    """To stdout with exit code 0, as `gh` and `kubectl` do."""
    group = CommandGroup("group", "A group.")
    group.add("show", show)
    group.add("other", show)
    assert run(group) == ExitCode.DONE
    assert "Show a name." in capsys.readouterr().out


def test_further_commands_are_looked_up_when_none_matches(capsys: pytest.CaptureFixture[str]) -> None:
    """The settings may define them."""
    group = CommandGroup("group", "A group.", more=lambda _session: {"more": show}, noun="kind")
    group.add("show", show)
    group.add("other", show)
    run(group, "more")
    assert capsys.readouterr().out == "name nobody json False\n"
    with pytest.raises(InvalidInput) as caught:
        run(group, "mor")
    assert (caught.value.message, caught.value.fix) == ("There is no kind 'mor'.", "Did you mean 'more'?")


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["invoice", "--env-file", "prod.env"], Path("prod.env")),
        (["invoice", "--env-file=prod.env", "--json"], Path("prod.env")),
        (["invoice", "--env-file"], None),
        (["invoice"], None),
    ],
)
def test_the_settings_file_may_stand_after_the_command(words: list[str], file: Path | None) -> None:
    """It decides which commands there are."""
    assert _env_file_in(words) == file
