"""Running commands in this process, in a folder where nothing is set up."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from mailctl import runtime
from mailctl.cli.main import main
from mailctl.settings import Settings
from tests.integration.commands import Ran

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.commands import Mailctl

    Run = Callable[..., tuple[int, str]]


@pytest.fixture
def mailctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mailctl:
    """Runs a command in an empty folder, with or without something on standard input."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            code = main(arguments)
        finally:
            runtime.shut()
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run_command


@pytest.fixture
def run(mailctl: Mailctl) -> Run:
    """Runs a command in an empty folder; returns its exit code and its output."""

    def run_command(*arguments: str) -> tuple[int, str]:
        ran = mailctl(*arguments)
        return ran.code, ran.out

    return run_command
