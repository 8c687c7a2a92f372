"""How a command reads the delivery log of the demo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.operations.demo import Demo
from mailctl.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_it_needs_the_folder_of_the_demo() -> None:
    """And nothing else in development."""
    demo = Demo()
    assert demo.required_environment(Settings(debug=True)) == {"MAILCTL_HOME": str(demo.home)}


def test_it_overrides_settings_that_lead_elsewhere() -> None:
    """Another profile or log, or settings that are invalid."""
    demo = Demo()
    elsewhere = Settings(debug=True, mailctl_database_url="sqlite:///other.db")
    assert demo.required_environment(elsewhere) == {
        "MAILCTL_HOME": str(demo.home),
        "MAILCTL_DATABASE_URL": "",
    }
    assert demo.required_environment(None) == {
        "MAILCTL_HOME": str(demo.home),
        "MAILCTL_DATABASE_URL": "",
        "DEBUG": "True",
    }
