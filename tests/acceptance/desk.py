"""An operator at work in the test's own process: what a command costs to start is not what is tried."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from mailctl import runtime
from mailctl.cli.main import main
from mailctl.settings import Settings
from tests.acceptance.terminal import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


class Desk:
    """Runs commands in a folder, as its .env says, and reads their JSON.

    Args:
        folder: where the operator is.
    """

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        for field in Settings.model_fields:
            monkeypatch.delenv(field.upper(), raising=False)
        self.go_to(folder)

    def go_to(self, folder: Path) -> None:
        """Work in another folder."""
        folder.mkdir(exist_ok=True)
        self._monkeypatch.chdir(folder)

    def run(self, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        """Run a command; return its exit code, the objects that it printed, and its talk."""
        self._capsys.readouterr()
        try:
            code = main((*arguments, "--json"))
        finally:
            runtime.close()
        printed = self._capsys.readouterr()
        return code, [json.loads(line) for line in printed.out.splitlines()], printed.err

    def send(self, *arguments: str) -> str:
        """Send an email to Zoe and return its id."""
        code, [sent], talk = self.run("send", "welcome", "--email", "zoe@example.com", *arguments)
        assert code == 0, talk
        return str(sent["task_id"])

    def why(self, task_id: str) -> dict[str, Any]:
        """Return the diagnosis of an email."""
        _, [found], _ = self.run("why", task_id)
        return found

    def cause(self, task_id: str) -> str:
        """Return the name of the first cause."""
        return str(self.why(task_id)["causes"][0]["cause"])

    def incident(self) -> dict[str, Any]:
        """Return what is wrong now."""
        _, [found], _ = self.run("incident")
        return found

    def wait_for(self, condition: Callable[[], bool], what: object = "") -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, what
            time.sleep(0.3)

    def wait_for_state(self, task_id: str, *states: str) -> None:
        """Wait until an email is in one of these states."""
        self.wait_for(lambda: self.run("status", task_id)[1][0]["state"] in states, task_id)
