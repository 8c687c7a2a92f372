"""Development, with nothing set up: one terminal sends, the other works off."""

from __future__ import annotations

import email
import email.policy
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.terminal import Terminal


def test_what_one_terminal_sends_the_other_captures(terminal: Terminal) -> None:
    """No server, no settings, and the file reads well; how fast it is, the benchmarks tell."""
    terminal.worker()
    sent = terminal.run("send", "welcome", "--user-id", "1", "--json")
    assert (sent.code, sent.data["schema"]) == (0, "mailctl/1")
    # The worker may have begun before the command has read it.
    assert sent.data["state"] in {"pending", "queued", "sending", "captured"}
    found = terminal.wait_for(sent.data["task_id"], "captured")
    message = email.message_from_bytes(Path(found["captured_file"]).read_bytes(), policy=email.policy.default)
    assert message["To"] == "Ada <ada@example.com>"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert found["celery_state"] == "SUCCESS"


def test_a_worker_that_starts_later_sends_what_was_sent_before(terminal: Terminal) -> None:
    """The delivery log carries the email from one process to the other."""
    task_id = terminal.send("welcome", "--user-id", "1")
    before = terminal.status(task_id)
    assert before["state"] == "pending"
    assert "no worker is alive" in before["explanation"]
    terminal.worker()
    terminal.wait_for(task_id, "captured")


def test_the_broker_is_memory_and_nothing_else(terminal: Terminal) -> None:
    """DEBUG=True means exactly memory:// and cache+memory://."""
    result = terminal.run("check-config", "--offline", "--json")
    details = json.dumps(result.data["checks"])
    assert result.code == 0, result.out
    assert "memory://" in details
    assert "cache+memory://" in details


def test_drain_stops_when_nothing_is_left_to_do(terminal: Terminal) -> None:
    """What is scheduled for later is not waited for."""
    ids = [terminal.send("verification", "--user-id", user_id) for user_id in ("1", "2", "3")]
    later = terminal.send("welcome", "--user-id", "1", "--in", "1h")
    result = terminal.run("worker", "--drain")
    assert result.code == 0, result.err
    assert [found["state"] for found in terminal.statuses([*ids, later])] == [*["captured"] * 3, "pending"]


@pytest.mark.parametrize("how", ["interrupt", "stop"])
def test_a_stopped_worker_leaves_nothing_behind(terminal: Terminal, how: str) -> None:
    """Ctrl-C and SIGTERM end it with 0; what it had not begun, the next one does."""
    worker = terminal.worker()
    ids = [terminal.send("welcome", "--user-id", "1") for _ in range(3)]
    assert getattr(worker, how)() == 0
    terminal.run("worker", "--drain")
    assert {found["state"] for found in terminal.statuses(ids)} == {"captured"}
    assert len(list((terminal.folder / ".mailctl" / "mail").glob("*.eml"))) == 3


def test_a_killed_worker_loses_nothing(terminal: Terminal) -> None:
    """Its memory broker dies with it; the log does not."""
    worker = terminal.worker()
    task_id = terminal.send("welcome", "--user-id", "1", "--in", "2s")
    worker.kill()
    terminal.worker()
    terminal.wait_for(task_id, "captured")


def test_wait_follows_to_the_end(terminal: Terminal) -> None:
    """Exit 0 when it is sent, 8 when time is up."""
    assert terminal.run("send", "welcome", "--user-id", "1", "--wait", "--timeout", "0.3").code == 8
    terminal.worker()
    done = terminal.run("send", "welcome", "--user-id", "1", "--wait", "--json")
    assert (done.code, done.data["state"]) == (0, "captured")


def test_scheduled_emails_wait_for_their_time(terminal: Terminal) -> None:
    """--in and --at are fields of the log, not messages on the broker."""
    terminal.worker()
    later = terminal.send("welcome", "--user-id", "1", "--in", "1h")
    soon = terminal.wait_for(terminal.send("welcome", "--user-id", "1", "--in", "2s"), "captured")
    created_at, updated_at = (datetime.fromisoformat(soon[name]) for name in ("created_at", "updated_at"))
    assert updated_at - created_at >= timedelta(seconds=2)
    waiting = terminal.status(later)
    assert (waiting["state"], "scheduled for" in waiting["explanation"]) == ("pending", True)


def test_a_dry_run_prints_and_records_nothing(terminal: Terminal) -> None:
    """One sees what would go out."""
    shown = terminal.run("send", "reset", "--user-id", "1", "--dry-run")
    assert "Reset your Example password" in shown.out
    assert "/reset-password?t=" in shown.out
    assert terminal.run("worker", "--drain").code == 0
    assert not (terminal.folder / ".mailctl" / "mail").exists()


def test_a_unique_start_of_an_id_is_enough(terminal: Terminal) -> None:
    """As with commit hashes."""
    task_id = terminal.send("welcome", "--user-id", "1")
    assert terminal.status(task_id[:8])["task_id"] == task_id


def test_the_links_are_in_the_workers_log(terminal: Terminal) -> None:
    """In development they are for clicking."""
    worker = terminal.worker()
    terminal.wait_for(terminal.send("reset", "--user-id", "1"), "captured")
    assert "reset_url: http://localhost:3000/reset-password?t=" in worker.output


def test_the_demo_shows_the_main_job_with_nothing_set_up(terminal: Terminal) -> None:
    """Four emails through a real worker."""
    result = terminal.run("demo", "--json")
    assert result.code == 0, result.err
    last = {line["task_id"]: (line["kind"], line["state"]) for line in result.lines}
    assert sorted(last.values()) == [
        (kind, "captured") for kind in ("new-ip", "reset", "verification", "welcome")
    ]


def test_a_command_leaves_the_log_in_one_file(terminal: Terminal) -> None:
    """So that whoever copies it has all of it."""
    terminal.send("welcome", "--user-id", "1")
    assert [file.name for file in (terminal.folder / ".mailctl").glob("mailctl.db*")] == ["mailctl.db"]
