"""Running commands in this process, in a folder where nothing is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl import runtime
from mailctl.cli.main import main
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in an empty folder; returns its exit code and its output."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str]:
        try:
            code = main(arguments)
        finally:
            runtime.shut()
        return code, capsys.readouterr().out

    return run
