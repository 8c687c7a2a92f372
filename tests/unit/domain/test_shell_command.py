"""Suggested commands can be copied into a shell, whatever their values."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from mailctl.domain.shell_command import (
    chmod_command,
    is_safe_unquoted,
    mailctl_command,
    sharing_options,
    start_worker_command,
    start_worker_fix,
)
from tests.command_line import parse

#: Names that somebody else chose: of queues, workers, campaigns, addresses.
HOSTILE = [
    "celery;touch${IFS}pwned",
    "$(touch pwned)",
    "`touch pwned`",
    "a b",
    "a'b",
    'a"b',
    "a\\b",
    "*",
    "~",
    "!!",
    "#x",
    "&&true",
    "|cat",
    ">pwned",
    "{a,b}",
    "--yes",
    "-rf",
    "--",
    "é…字",
    "",
]
#: What a terminal would act on, or would show as something else.
UNPRINTABLE = [
    "a\nb",
    "a\rb",
    "\x1b[2J",
    "\x1b]52;c;cm0gLXJmIH4=\x07",
    "it's\x7f\\!",
    "\u202egnp.exe",
    "a\u00a0b",
    "-\n",
]
#: Prints what it was called with.
STUB = "#!/bin/sh\nprintf '%d\\0' $#\nfor word; do printf '%s\\0' \"$word\"; done\n"


def received(lines: list[str], folder: Path, *, shell: str) -> list[list[str]]:
    """Run command lines in a shell; return the arguments that each `mailctl` got."""
    stub = folder / "mailctl"
    stub.write_text(STUB)
    stub.chmod(0o700)
    script = "\n".join(lines)
    path = f"{folder}:/usr/bin:/bin"
    out = subprocess.run(
        [shutil.which(shell) or shell, "-c", script],
        cwd=folder,
        env={"PATH": path},
        capture_output=True,
        check=True,
    ).stdout.decode()
    assert sorted(each.name for each in folder.iterdir()) == ["mailctl"]
    printed = iter(out.split("\0")[:-1])
    return [[next(printed) for _ in range(int(count))] for count in printed]


@pytest.mark.parametrize(
    ("shell", "values"), [("sh", HOSTILE), ("bash", HOSTILE + UNPRINTABLE)], ids=["sh", "bash"]
)
def test_a_shell_passes_the_value_unchanged(tmp_path: Path, shell: str, values: list[str]) -> None:
    """As an argument and as an option, and nothing else happens."""
    commands = [mailctl_command("queue", "peek", arguments=[value]) for value in values]
    commands += [mailctl_command("list", to=value, oldest_first=True) for value in values]
    called = received([str(command) for command in commands], tmp_path, shell=shell)
    assert called == [list(command.words[1:]) for command in commands]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_line_splits_into_its_words(value: str) -> None:
    """As Python's shlex splits it."""
    command = mailctl_command("queue", "resume", kind=value, arguments=[value])
    assert shlex.split(str(command)) == list(command.words)


@pytest.mark.parametrize("value", [value for value in HOSTILE + UNPRINTABLE if value])
def test_a_value_is_never_taken_for_an_option(value: str) -> None:
    """Also if it starts with a hyphen."""
    assert parse(mailctl_command("queue", "peek", arguments=[value]).words[1:])["name"] == value
    assert parse(mailctl_command("list", to=value).words[1:])["to"] == value
    assert parse(mailctl_command("worker", Q=value).words[1:])["queues"] == value


@pytest.mark.parametrize("value", UNPRINTABLE)
def test_a_line_contains_no_control_characters(value: str) -> None:
    """Each character is printable."""
    assert str(mailctl_command("why", arguments=[value])).isprintable()


def test_simple_commands_are_not_quoted() -> None:
    """Arguments come before options, and empty options are left out."""
    assert (
        str(mailctl_command("retry", arguments=["e1"], include="resent", state=None))
        == "mailctl retry e1 --include resent"
    )
    assert (
        str(mailctl_command("list", state=("failed", "held"), watch=True))
        == "mailctl list --state failed --state held --watch"
    )
    assert str(start_worker_command("reports")) == "mailctl worker -Q reports"
    assert start_worker_fix("reports", default_queues=["celery"]) == "Start one: mailctl worker -Q reports"
    assert start_worker_fix("celery", default_queues=["celery"]) == "Start one: mailctl worker"
    assert (
        str(mailctl_command("why").with_environment(MAILCTL_HOME="/a b")) == "MAILCTL_HOME='/a b' mailctl why"
    )


def test_files_are_quoted_too() -> None:
    """A folder may have any name."""
    assert str(chmod_command("600", [Path("/srv/a b;x"), Path("/y")])) == "chmod 600 '/srv/a b;x' /y"
    assert str(chmod_command("o-r", [Path("-x")])) == "chmod o-r -- -x"


def test_commands_repeat_the_options_for_settings() -> None:
    """A copied command must not act on another environment."""
    with sharing_options(app="shop:app", env_file="prod env"):
        assert (
            str(mailctl_command("retry", state="failed"))
            == "mailctl --app shop:app --env-file 'prod env' retry --state failed"
        )
    assert str(mailctl_command("retry")) == "mailctl retry"


def test_a_queue_with_a_comma_has_no_worker_command() -> None:
    """Celery splits the names of queues at commas."""
    assert start_worker_command("a,b") is None


def test_only_words_that_need_no_quotes_are_completed() -> None:
    """A shell would interpret others."""
    assert [word for word in HOSTILE + UNPRINTABLE if is_safe_unquoted(word)] == []
    assert is_safe_unquoted("mailctl.bulk")
