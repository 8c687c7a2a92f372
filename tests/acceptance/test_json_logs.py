"""Logs for programs: every line of a worker is an object, and an email can be followed by its id."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.terminal import Terminal


def test_every_line_is_an_object_about_what_happened(terminal: Terminal) -> None:
    """With time, level, action and the email's id; a token is only in the link that development shows."""
    task_id = terminal.send("reset", "--user-id", "1", "--token-stdin", stdin="canary-token")
    done = terminal.run("worker", "--drain", "--log-format", "json")
    assert done.code == 0, done.err
    assert done.out == ""
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    told = {line["action"]: line["level"] for line in lines if line["email_id"] == task_id}
    assert told["email_captured"] == "info"
    assert {line["action"] for line in lines if "canary-token" in str(line)} == {"link_shown"}


def test_other_formats_are_refused(terminal: Terminal) -> None:
    """In one sentence, with exit code 2, by both programs."""
    for command in ("worker", "web"):
        refused = terminal.run(command, "--log-format", "xml")
        assert (refused.code, "json" in refused.err) == (2, True)
