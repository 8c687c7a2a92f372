"""Errors become one sentence and an exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from mailctl.cli.main import main
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("lst", "mailctl"),
        ("help lst", "mailctl"),
        ("queue lst", "mailctl queue"),
        ("top extra", "mailctl top"),
        ("list --no-such", "mailctl list"),
        ("send new-ip", "mailctl send new-ip"),
        ("status", "mailctl status"),
        ("queue peek -n 0", "mailctl queue peek"),
    ],
)
def test_wrong_usage_names_the_help(words: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the command that was meant, in one line, with exit code 2."""
    assert main(words.split()) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.endswith(f" See `{command} --help`.\n")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        ("lst", "There is no command 'lst'. Did you mean 'list'?"),
        ("list --stat failed", "There is no option --stat. Did you mean --state?"),
        ("send welcome --to ada@example.com", "There is no option --to. Did you mean --email?"),
        ("list --recipient ada", "There is no option --recipient. Did you mean --to?"),
        ("send email --variable a=b", "There is no option --variable. Did you mean --set?"),
        ("list --state faild", "'faild' is not a state. Did you mean 'failed'?"),
        ("list --kind rest", "There is no kind 'rest'. Did you mean 'reset'?"),
        ("send rest --user-id 1", "There is no kind 'rest'. Did you mean 'reset'?"),
        ("check-config --profile productoin", "'productoin' is not a profile. Did you mean 'production'?"),
        ("stats --by knd", "'knd' is not a field. Did you mean 'kind'?"),
        ("web --port 99999", "--port must be a number from 0 to 65535."),
        ("top --count 0", "--count must be a number of at least 1."),
        ("send new-ip", "The option --ip is missing."),
        ("status", "The argument ID is missing."),
        ("top extra", "Unexpected argument 'extra'."),
    ],
)
def test_a_typing_error_is_answered_with_what_was_meant(
    words: str, sentences: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """For commands, options and the values that are one of a few."""
    assert main(words.split()) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith(f"error: {sentences}")


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("help queue peek", "queue peek --help"),
        ("help --no-color queue peek", "queue peek --help"),
        ("help help", "help --help"),
        ("help --help", "help --help"),
        ("help", "--help"),
        ("help --json", "--help"),
        ("", "--help"),
    ],
)
def test_help_is_a_command_too(words: str, same: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its exit code is 0 and it goes to stdout, also where nothing is asked for."""
    assert main(words.split()) == ExitCode.DONE
    printed = capsys.readouterr().out
    main(same.split())
    assert capsys.readouterr().out == printed


def test_help_explains_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """In the words of the documents."""
    main(["help", "exit-codes"])
    printed = capsys.readouterr().out
    assert all(f"{int(code):>9}  {code.meaning}" in printed for code in ExitCode)


def test_arguments_have_to_be_utf8(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is opened."""
    assert main(["status", "\udcff"]) == ExitCode.USAGE
    assert "'\\udcff' is not UTF-8." in capsys.readouterr().err


def test_an_error_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """After what is wrong."""
    assert main(["preview"]) == ExitCode.USAGE
    assert capsys.readouterr().err == "error: KIND is missing. Give a kind, such as reset, or --serve.\n"


def test_verbose_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """It belongs into a bug report."""
    main(["preview", "-v"])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", ["", "--help", "help", "help list", "list --help", "queue --help", "--version", "version"]
)
def test_a_reader_that_has_read_enough_is_no_error(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as `head`, also of a help page."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert main(words.split()) == ExitCode.DONE
