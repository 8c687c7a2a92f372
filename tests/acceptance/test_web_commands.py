"""`mailctl web` and `mailctl preview --serve` as programs: where they may listen, and what they need."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from mailctl.web.login_throttle import MAX_FAILURES
from tests.servers import free_port

if TYPE_CHECKING:
    from tests.acceptance.terminal import Terminal

#: Runs a command where the extra is not installed.
WITHOUT_EXTRA = (
    "import sys\n"
    "sys.modules['fastapi'] = None\n"
    "from mailctl.cli.main import main\n"
    "sys.exit(main(sys.argv[1:]))\n"
)


def test_other_hosts_need_a_key(terminal: Terminal) -> None:
    """Without one, only a loopback address is accepted; the error says what to do."""
    terminal.send("welcome", "--email", "zoe@example.com")
    ended = terminal.run("web", "--host", "0.0.0.0", "--port", "0")
    assert (ended.code, "mailctl keys create" in ended.err) == (4, True)


@pytest.mark.parametrize("command", [("web",), ("preview", "--serve")])
def test_a_missing_extra_is_reported(terminal: Terminal, command: tuple[str, ...]) -> None:
    """In one sentence, with the command that installs it."""
    window = terminal.open(terminal.python, "-c", WITHOUT_EXTRA, *command, name="web")
    assert window.wait() == 2
    assert "pip install '.[web]'" in window.output
    assert "Traceback" not in window.output


def test_a_dashboard_waits_for_a_log_and_creates_none(terminal: Terminal) -> None:
    """It says so when it starts, and its pages report it until there is one."""
    window = terminal.open(terminal.python, "-m", "mailctl", "web", "--port", "0", name="web")
    window.wait_until_printed("key, valid until this process ends: ")
    log = terminal.folder / ".mailctl" / "mailctl.db"
    assert f"There is no delivery log at sqlite:///{log}. The dashboard shows it as soon as it exists." in (
        window.output
    )
    address = re.findall(r"dashboard: (http://\S+)/", window.output)[0]
    key = window.output.rpartition(": ")[2].split()[0]
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        answer = client.get(f"{address}/api/emails")
        assert (answer.status_code, answer.json()["detail"]) == (
            503,
            f"There is no delivery log at sqlite:///{log}.",
        )
        assert list(terminal.folder.iterdir()) == []
        terminal.send("welcome", "--email", "zoe@example.com")
        assert [each["to"] for each in client.get(f"{address}/api/emails").json()["emails"]]
    assert window.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("command", ["web --port 0", "feedback serve --port 0", "feedback watch"])
def test_a_process_that_holds_keys_writes_no_core_dump(terminal: Terminal, command: str) -> None:
    """Each that runs until it is stopped, like a worker."""
    terminal.set(MAILCTL_FEEDBACK_LMTP=f"127.0.0.1:{free_port()}")
    terminal.send("welcome", "--email", "zoe@example.com")
    window = terminal.open(terminal.python, "-m", "mailctl", *command.split(), name="web")
    limits = Path(f"/proc/{window.process.pid}/limits")
    window.wait_until(lambda: re.search(r"Max core file size +0 +0 ", limits.read_text()) is not None)
    # It may not listen yet, and so not handle the signal.
    assert window.stop() in (0, -15)


def test_previews_are_served(terminal: Terminal) -> None:
    """On the loopback address, with the key that is printed, until a signal."""
    port = free_port()
    window = terminal.open(
        terminal.python, "-m", "mailctl", "preview", "reset", "--serve", "--port", str(port), name="web"
    )
    window.wait_until_printed("key, valid until this process ends: ")
    key = window.output.rpartition(": ")[2].split()[0]
    address = f"http://127.0.0.1:{port}/previews/reset"
    assert f"previews: {address}" in window.output
    page = httpx.get(address, headers={"Authorization": f"Bearer {key}"}, timeout=120)
    assert (page.status_code, "Choose" in page.text or "Reset" in page.text) == (200, True)
    assert list(terminal.folder.iterdir()) == [], "a preview needs no delivery log"
    assert window.stop() == 0


def test_previews_are_served_to_a_key_of_the_log(terminal: Terminal) -> None:
    """They write nothing but the use of the key."""
    terminal.send("welcome", "--email", "zoe@example.com")
    key = terminal.run("keys", "create", "on-call").out
    port = free_port()
    window = terminal.open(
        terminal.python, "-m", "mailctl", "preview", "--serve", "--port", str(port), name="web"
    )
    window.wait_until_printed("previews: ")
    address = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=address, headers={"Origin": address}, timeout=120) as client:
        bearer = {"Authorization": f"Bearer {key.strip()}"}
        assert client.get("/previews", headers=bearer).status_code == 200
        assert client.post("/login", data={"key": key.strip()}).status_code == 303
        assert client.get("/previews").status_code == 200
    assert window.stop() == 0


def test_a_header_does_not_evade_the_limit_on_invalid_keys(terminal: Terminal) -> None:
    """A client on this computer, such as a page in its browser, can write any address into it."""
    window = terminal.open(terminal.python, "-m", "mailctl", "web", "--port", "0", name="web")
    window.wait_until_printed("key, valid until this process ends: ")
    address = re.findall(r"dashboard: (http://\S+)/", window.output)[0]
    with httpx.Client(base_url=address, timeout=30) as client:
        answers = [
            client.get(
                "/api/emails",
                headers={"Authorization": "Bearer x", "X-Forwarded-For": f"192.0.2.{number}"},
            ).status_code
            for number in range(MAX_FAILURES + 1)
        ]
        assert answers == [401] * MAX_FAILURES + [429]
        assert client.get("/api/emails", headers={"Host": "evil.example"}).status_code == 400
    assert window.stop() == 0
