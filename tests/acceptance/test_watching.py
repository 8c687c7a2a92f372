"""`mailctl list --watch`: what changes, as it changes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.terminal import Terminal


def test_a_pipe_gets_a_line_for_each_change(terminal: Terminal) -> None:
    """Also of what no longer fits the filters; Ctrl-C is the way to end it, and no error."""
    task_id = terminal.send("welcome", "--user-id", "1")
    window = terminal.open(sys.executable, "-m", "mailctl", "list", "--state", "pending", "--watch", "--json")
    window.wait_until_printed(task_id)
    assert terminal.run("cancel", task_id).code == 0
    window.wait_until_printed("cancelled")
    assert window.interrupt() == 0
    lines = [json.loads(line) for line in window.output.splitlines()]
    assert [(line["task_id"], line["state"]) for line in lines] == [
        (task_id, "pending"),
        (task_id, "cancelled"),
    ]
