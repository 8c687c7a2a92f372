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


def test_events_are_followed_in_a_pipe(terminal: Terminal) -> None:
    """As JSON lines, those that fit the filters alone; and several emails by their ids."""
    first, second = terminal.send("welcome", "--user-id", "1"), terminal.send("welcome", "--user-id", "2")
    mailctl = (sys.executable, "-m", "mailctl")
    events = terminal.open(*mailctl, "events", "--follow", "--since", "1h", "--state", "pending,cancelled")
    both = terminal.open(*mailctl, "status", first, second, "--watch", "--json")
    queues = terminal.open(*mailctl, "queue", "list", "--watch", "--json")
    for window, text in ((events, second), (both, second), (queues, "celery")):
        window.wait_until_printed(text)
    assert terminal.run("cancel", first, second).code == 0
    assert both.wait() == 1
    events.wait_until(lambda: events.output.count("cancelled") >= 2)
    assert (events.interrupt(), queues.interrupt()) == (0, 0)
    lines = [json.loads(line) for line in events.output.splitlines()]
    assert [line["task_id"] for line in lines if line["state"] == "cancelled"] == [first, second]
    states = [json.loads(line)["state"] for line in both.output.splitlines()]
    assert states == ["pending", "pending", "cancelled", "cancelled"]


def test_a_log_is_followed_until_a_signal(terminal: Terminal) -> None:
    """A service manager stops it by SIGTERM; functions of the service that still hear of it return first."""
    terminal.send("welcome", "--user-id", "1")
    log = terminal.folder / "mail.log"
    log.touch()
    window = terminal.open(sys.executable, "-m", "mailctl", "feedback", "tail-log", str(log))
    window.wait_until(lambda: any(terminal.folder.rglob("tail-log-*.json")))
    assert window.stop() == 0
