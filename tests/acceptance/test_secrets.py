"""A token, a link or a password is in the email and nowhere else."""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from tests.acceptance.celery_client import Listener
from tests.acceptance.conftest import SMTP_PASSWORD
from tests.smtp_server import Reply
from tests.tokens import hs256

if TYPE_CHECKING:
    from celery import Celery

    from tests.acceptance.terminal import Terminal
    from tests.servers import RedisServer
    from tests.smtp_server import ScriptedSmtpServer

#: Other tests, which run at the same time, have others.
TOKEN = f"canary-token-{uuid.uuid4().hex}"
#: A token as services make it.
JWT = hs256({"sub": "7", "jti": TOKEN})
REDIS_PASSWORD = "redis-password-canary"


def everything_in(redis: RedisServer) -> str:
    """All keys and values of a Redis database."""
    client = redis.client()
    try:
        dump = []
        for key in client.scan_iter("*"):
            kind = client.type(key)
            if kind == b"list":
                dump += client.lrange(key, 0, -1)
            elif kind == b"hash":
                dump += client.hgetall(key).values()
            elif kind == b"string":
                dump.append(client.get(key))
        return b"\n".join(value for value in dump if isinstance(value, bytes)).decode(errors="replace")
    finally:
        client.close()


@pytest.mark.parametrize(
    ("tokens", "is_refused"), [("as-given", False), ("as-given", True), ("sealed", False)]
)
def test_the_token_is_in_the_email_and_nowhere_else(
    production: Terminal,
    redis: RedisServer,
    smtp_server: ScriptedSmtpServer,
    client: Celery,
    tokens: str,
    is_refused: bool,
) -> None:
    """Not in `ps`, the worker's log, status, events, inspect, results, the broker, or the log's file."""
    production.set(MAILCTL_LINK_TOKENS=tokens)
    if is_refused:
        smtp_server.script["rcpt"] = [Reply("451 4.7.1 greylisted"), Reply("550 5.1.1 unknown")]
    worker = production.worker("-c", "1", "-l", "DEBUG")
    with Listener(client, lists_processes=True) as listener:
        result = production.run(
            "send", "reset", "--email", "zoe@example.com", "--token-stdin", "--json", stdin=JWT + "\n"
        )
        task_id = result.data["task_id"]
        seen = [everything_in(redis), json.dumps(client.control.inspect(timeout=1).active() or {})]
        production.wait_for(task_id, "failed" if is_refused else "sent")
        time.sleep(0.5)  # events of the last change
    status = production.run("status", task_id, "--json")
    human = production.run("status", task_id, "-v")
    checks = production.run("check-config", "--json")
    result_text = str(client.AsyncResult(task_id).result)
    log_files = [
        path.read_bytes().decode("latin-1") for path in (production.folder / ".mailctl").glob("mailctl.db*")
    ]
    seen += [worker.output, result.out, result.err, status.out, human.out, human.err, checks.out, checks.err]
    seen += [json.dumps(listener.events, default=str), result_text, everything_in(redis), *log_files]
    urls = re.findall(
        r"https://shop\.example/reset-password\?t=(\S+)",
        "".join(message.text for message in smtp_server.messages),
    )
    assert listener.events
    assert listener.processes
    assert is_refused or (JWT in urls) == (tokens == "as-given")
    for secret in [JWT, JWT.split(".")[1], SMTP_PASSWORD, REDIS_PASSWORD, *urls]:
        for text in seen:
            assert secret not in text, f"{secret} in {text[max(0, text.find(secret) - 200) :][:400]}"
    assert not any(JWT in listing for listing in listener.processes)


@pytest.mark.parametrize(
    ("program", "pool"),
    [
        ("mailctl worker", "prefork"),
        ("mailctl worker", "threads"),
        ("celery -A mailctl.celery_app worker", "prefork"),
        ("celery -A mailctl.celery_app worker", "solo"),
    ],
)
def test_a_full_message_hides_its_links_from_events_and_logs(
    production: Terminal,
    smtp_server: ScriptedSmtpServer,
    client: Celery,
    program: str,
    pool: str,
) -> None:
    """A message for a worker that does not share the log has to carry the link, and only its body does."""
    production.set(MAILCTL_MESSAGES="full")
    options = ("-c", "1", "-P", pool, "-l", "DEBUG")
    worker = production.open(production.python, "-m", *program.split(), *options, name="worker")
    worker.wait_until_printed("ready.")
    with Listener(client) as listener:
        task_id = production.send("reset", "--email", "zoe@example.com", stdin=None)
        production.wait_for(task_id, "sent")
        listener.wait_for("task-succeeded", task_id)
    text = worker.output + json.dumps(listener.events, default=str) + production.run("status", task_id).out
    assert "reset-password?t=" not in text


def test_a_sealed_token_comes_back_from_the_link(
    production: Terminal, smtp_server: ScriptedSmtpServer
) -> None:
    """With MAILCTL_LINK_TOKENS=sealed."""
    production.set(MAILCTL_LINK_TOKENS="sealed")
    production.worker("-c", "1")
    arguments = ("reset", "--email", "zoe@example.com", "--wait")
    production.send(*arguments, MAILCTL_TOKEN=TOKEN)
    body = smtp_server.messages[0].text
    found = re.search(r"reset-password\?t=([\w%=-]+)", body)
    assert found is not None
    t = unquote(found[1])
    program = (
        "import sys; from mailctl.security.links import verify; "
        "print(verify(sys.argv[1], purpose='reset-password').token)"
    )
    window = production.open(production.python, "-c", program, t, name="service")
    assert window.wait() == 0, window.output
    assert window.output.strip() == TOKEN
