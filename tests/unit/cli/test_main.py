"""Errors become one sentence and an exit code."""

from __future__ import annotations

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
        ("list --no-such", "mailctl list"),
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
