"""`mailctl workers`: real workers, on Redis by remote control, and in memory by the log."""

from __future__ import annotations

import json
import re
import signal
import sys
from contextlib import closing
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from celery.utils.nodenames import gethostname

from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.servers import free_port

if TYPE_CHECKING:
    from mailctl.delivery_log.heartbeats import Worker
    from tests.acceptance.desk import Desk
    from tests.acceptance.terminal import Terminal
    from tests.servers import RedisServer

#: One process, which starts soonest.
ALONE = ("-P", "solo", "-c", "1")


def test_in_memory_the_log_knows_the_workers(terminal: Terminal, desk: Desk) -> None:
    """Their heartbeats answer, a stopped process is silent, and SIGTERM ends them in good order."""
    assert desk.run("workers")[:2] == (3, [])  # there is no log yet
    assert desk.run("workers", "ping")[0] == 3
    window = terminal.worker("-n", "mail@here")
    task_id = desk.send()
    desk.wait_for_state(task_id, "captured")
    _, [found], _ = desk.run("workers")
    assert (found["worker"], found["pid"], found["pool"]) == ("mail@here", window.process.pid, "thread")
    assert (found["queues"], found["busy"], found["sent_last_minute"]) == (
        ["celery", "mailctl.groups", "mailctl.bulk"],
        0,
        1,
    )
    assert (found["shares_log"], found["answers"]) == (True, "not asked")
    desk.wait_for(lambda: desk.run("workers", "ping") == (0, [answer("mail@here", yes=True)], ""))
    frozen(window.process.pid, terminal, desk)
    window.process.send_signal(signal.SIGCONT)
    desk.wait_for(lambda: desk.run("workers", "stop")[0] == 4)  # its next heartbeat may take a moment
    assert desk.run("workers", "stop", "mail@there", "--yes")[0] == 3
    desk.wait_for(lambda: desk.run("workers", "stop", "mail@here", "--yes")[0] == 0)
    assert window.wait() == 0


def test_a_name_stands_for_each_host(terminal: Terminal, desk: Desk) -> None:
    """As with Celery's own command: one line starts workers on many hosts."""
    terminal.worker(*ALONE, "-n", "mail@%h")
    _, [found], _ = desk.run("workers")
    assert found["worker"] == f"mail@{gethostname()}"
    assert desk.run("workers", "ping", found["worker"])[0] == 0


def test_on_redis_remote_control_reaches_them(production: Terminal, desk: Desk) -> None:
    """Also those that do not share the log of whoever asks."""
    window = production.worker(*ALONE, "-n", "mail@here")
    _, [found], _ = desk.run("workers")
    assert (found["worker"], found["shares_log"], found["answers"]) == ("mail@here", True, "yes")
    desk.go_to(production.folder / "elsewhere")
    (production.folder / "elsewhere" / ".env").write_text((production.folder / ".env").read_text())
    _, [stranger], _ = desk.run("workers")
    assert (stranger["worker"], stranger["shares_log"], stranger["busy"]) == ("mail@here", False, None)
    assert (stranger["pid"], stranger["pool"], "celery" in stranger["queues"]) == (
        window.process.pid,
        "solo",
        True,
    )
    desk.go_to(production.folder)
    frozen(window.process.pid, production, desk)
    assert desk.run("workers", "stop", "mail@here", "--yes") == (
        1,
        [{"schema": "mailctl/1", "worker": "mail@here", "is_requested": False, "detail": "no answer"}],
        "",
    )
    window.process.send_signal(signal.SIGCONT)
    desk.wait_for(lambda: desk.run("workers", "ping", "mail@here")[0] == 0)
    assert desk.run("workers", "stop", "--yes")[0] == 0
    assert window.wait() == 0


def test_a_worker_with_another_log_and_key_is_named(production: Terminal, desk: Desk) -> None:
    """By check-config and incident, as a note: it sends the emails, and their results say so to this log."""
    production.worker(*ALONE, "-n", "mail@here")
    settings = (production.folder / ".env").read_text()
    desk.go_to(production.folder / "elsewhere")
    (production.folder / "elsewhere" / ".env").write_text(f"{settings}\nSECRET_KEY={token_urlsafe(40)}\n")
    _, [checked], _ = desk.run("check-config")
    warned = {each["name"]: each["detail"] for each in checked["checks"] if each["status"] == "warn"}
    assert "Worker mail@here consumes celery and has another delivery log" in warned["log"]
    assert "has a SECRET_KEY that differs from the key of this process" in warned["keys"]
    task_id = desk.send()
    desk.wait_for(lambda: desk.run("list", task_id)[1][0]["state"] == "sent", task_id)
    assert desk.cause(task_id) == "accepted"
    _, [incident], _ = desk.run("incident")
    notes = {each["name"] for each in incident["problems"] if not each["is_failure"]}
    assert {"other_log", "wrong_key"} <= notes
    _, hops, _ = desk.run("health")
    assert "another delivery log" in json.dumps(hops)


def test_while_the_log_cannot_be_read_nobody_says_whose_it_is(production: Terminal, desk: Desk) -> None:
    """An operator would restart healthy workers while the database is down."""
    production.worker(*ALONE, "-n", "mail@here")
    settings = (production.folder / ".env").read_text()
    address = f"MAILCTL_DATABASE_URL=postgresql://mail@127.0.0.1:{free_port()}/mail"
    desk.go_to(production.folder / "elsewhere")
    (production.folder / "elsewhere" / ".env").write_text(f"{settings}\n{address}\n")
    for command in ("check-config", "health", "incident"):
        code, answers, _ = desk.run(command)
        assert code != 0
        assert "cannot be used" in json.dumps(answers), command
        assert "another delivery log" not in json.dumps(answers), command


def test_its_relay_publishes_what_commands_record(production: Terminal, desk: Desk) -> None:
    """Then `send` imports nothing that publishes, also if it waits until the email is sent."""
    production.worker(*ALONE)
    desk.wait_for(lambda: any(worker.publishes_at_once for worker in heartbeats(production)))
    mailctl = (sys.executable, "-X", "importtime", "-m", "mailctl")
    window = production.open(*mailctl, "send", "welcome", "--email", "zoe@example.com", "--wait", "--json")
    assert window.wait() == 0
    assert {"celery", "kombu"}.isdisjoint(re.findall(r"[|] *(\w+)$", window.output, re.MULTILINE))
    [sent] = [json.loads(line) for line in window.output.splitlines() if line.startswith("{")]
    # A process that takes the message at once leaves no time to record that it was published.
    assert sent["state"] == "sent"


def heartbeats(terminal: Terminal) -> list[Worker]:
    """Return the live workers that the log of a folder has."""
    with closing(Runtime(Settings(mailctl_home=terminal.folder / ".mailctl"))) as runtime:
        return runtime.workers.list_alive()


def test_when_redis_is_down_the_log_still_knows_them(
    production: Terminal, desk: Desk, redis: RedisServer
) -> None:
    """One sentence, and exit code 5."""
    production.worker(*ALONE, "-n", "mail@here")
    redis.stop()
    code, [found], talk = desk.run("workers")
    assert (code, found["worker"], found["answers"]) == (5, "mail@here", "not asked")
    assert talk.count("\n") == 1
    assert desk.run("workers", "ping")[0] == 5


def answer(name: str, *, yes: bool) -> dict[str, object]:
    """Return what `workers ping` prints for a worker."""
    return {"schema": "mailctl/1", "worker": name, "answers": yes}


def frozen(pid: int, terminal: Terminal, desk: Desk) -> None:
    """Freeze a worker: it gives no answer, which is something else than that nobody is there."""
    terminal.suspend(pid)
    code, [found], _ = desk.run("workers", "ping")
    assert (code, found) == (1, answer("mail@here", yes=False))
