"""On a real terminal, and in the log of a real worker: what comes from outside is shown and not obeyed."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.test_invalid_messages import GOOD, QUEUE, message
from tests.hostile.escapes import CONTROLS, ESCAPES, ID, hostile, plant
from tests.smtp_server import Reply

if TYPE_CHECKING:
    from tests.acceptance.terminal import Terminal
    from tests.servers import RedisServer
    from tests.smtp_server import ScriptedSmtpServer

#: Colours, and what a live table needs: modes of screen and cursor, movements to its own start, deletions.
_OURS = re.compile(r"\x1b\[[\d;]*m|\x1b\[\?(?:25|1049)[hl]|\x1b\[[\d;]*[AHK]|\x1b\[2K|\r")


def in_terminal(terminal: Terminal, *arguments: str) -> str:
    """Run a command on a terminal of its own, and return all that it wrote there."""
    outer, inner = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    with subprocess.Popen(
        [sys.executable, "-m", "mailctl", *arguments],
        cwd=terminal.folder,
        env=environment | {"TERM": "xterm-256color"},
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
    ):
        os.close(inner)
        written = b""
        with contextlib.suppress(OSError):  # how Linux tells that nobody has it open any more
            while data := os.read(outer, 65536):
                written += data
    os.close(outer)
    return written.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("status", ID),
        ("why", ID),
        ("queue", "list"),
        ("top", "--count", "1"),
        ("list", "--json"),
        ("list", "--state", hostile("state")),
    ],
    ids=" ".join,
)
def test_a_terminal_gets_our_colours_and_no_escapes_of_others(
    terminal: Terminal, arguments: tuple[str, ...]
) -> None:
    """Neither its clipboard nor its screen is anybody else's."""
    plant(terminal.folder)
    written = in_terminal(terminal, *arguments)
    assert "x1b]52;c" in written or "u001b]52;c" in written, written
    assert not CONTROLS.findall(_OURS.sub("", written)), ascii(written)


def test_a_worker_s_log_is_as_harmless(
    production: Terminal, redis: RedisServer, smtp_server: ScriptedSmtpServer
) -> None:
    """Whatever a message says of itself, or a mail server of an email; nobody writes a line of his own."""
    smtp_server.script = {"rcpt": [Reply("550 5.1.1 no\x1b]52;c;eHg=\x07\x1b[2Jbody\x08\x08")]}
    worker = production.worker("-c", "1", "-l", "INFO")
    unreadable, refused = str(uuid.uuid4()), str(uuid.uuid4())
    forged = f"{ESCAPES}\n[2026-01-01 00:00:00,000: ERROR/MainProcess] forged"
    envelope = message("send_welcome_email_task", GOOD, id=refused)
    envelope["headers"]["shadow"] = forged
    with redis.client() as client:
        for each in (
            message(hostile("task"), GOOD),
            message("send_welcome_email_task", {"mailctl_unreadable": forged}, id=unreadable),
            envelope,
        ):
            client.lpush(QUEUE, json.dumps(each))
    failed = production.wait_for(refused, "failed")
    assert failed["smtp"]["code"] == 550
    found = production.wait_for(unreadable, "failed")
    assert "unexpected keyword argument 'mailctl_unreadable'" in found["error"]
    assert "forged" not in found["error"]
    assert not CONTROLS.findall(worker.output), ascii(worker.output)
    assert "\n[2026-01-01" not in worker.output
    assert worker.stop() == 0
