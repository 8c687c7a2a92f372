"""An environment without settings, and an empty working directory, for every test of checks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mailctl.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Change into an empty folder from which modules can be imported."""
    for name in {field.upper() for field in Settings.model_fields} & os.environ.keys():
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
