"""The services of the documents in FastAPI, Flask and Django: whoever signs up gets a welcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.acceptance.blocks import DOCUMENTS, blocks_of
from tests.acceptance.service import Mailbox
from tests.servers import free_port

if TYPE_CHECKING:
    from tests.acceptance.blocks import Block
    from tests.acceptance.terminal import Terminal, Window
    from tests.servers import RedisServer
    from tests.smtp_server import ScriptedSmtpServer

[DOCUMENT] = [path for path in DOCUMENTS if path.name == "flask-and-django.md"]
FILES: dict[str, Block] = {block.file: block for block in blocks_of(DOCUMENT) if block.file is not None}
#: How each starts, and what it prints when it is ready.
SERVERS = {
    "fastapi_shop": (("-m", "uvicorn", "fastapi_shop:app", "--port", "{port}"), "startup complete"),
    "flask_shop": (("-m", "flask", "--app", "flask_shop", "run", "--port", "{port}"), "Running on"),
    "django_shop": (("django_shop.py", "runserver", "--noreload", "{port}"), "Quit the server"),
}


def start(terminal: Terminal, name: str, address: str) -> Window:
    """Start a service as its document says, on a free port."""
    (terminal.folder / f"{name}.py").write_text(FILES[f"{name}.py"].text)
    terminal.set(DATABASE_URL="sqlite:///shop.db", MAILCTL_DATABASE_URL="sqlite:///shop.db")
    if name == "django_shop":
        code, text = terminal.shell(f"{terminal.python} django_shop.py migrate")
        assert code == 0, text
    arguments, ready = SERVERS[name]
    port = address.rpartition(":")[2]
    window = terminal.open(terminal.python, *(each.replace("{port}", port) for each in arguments), name=name)
    window.wait_until_printed(ready)
    return window


def test_there_is_one_for_each_framework() -> None:
    """The document and this test know the same services."""
    assert set(FILES) == {f"{name}.py" for name in SERVERS}


@pytest.mark.parametrize("name", SERVERS)
def test_signing_up_sends_a_welcome(terminal: Terminal, name: str) -> None:
    """With one commit: an address that is taken gets neither a user nor an email."""
    address = f"http://127.0.0.1:{free_port()}"
    terminal.environment["PYTHONUNBUFFERED"] = "1"
    start(terminal, name, address)
    worker = terminal.worker()
    with httpx.Client(base_url=address, timeout=120) as client:
        answer = client.post("/sign-up", data={"email": "zoe@example.com"})
        assert answer.status_code == 200, answer.text
        assert client.post("/sign-up", data={"email": "zoe@example.com"}).status_code == 500
    [message] = Mailbox(terminal, None).messages(1, worker)
    assert message["To"] == "zoe@example.com"
    email_id = answer.text.strip('"')
    [listed] = terminal.run("list", "--json").lines
    assert (listed["task_id"], listed["kind"], listed["user_id"]) == (email_id, "welcome", "1")
    sent = terminal.run("send", "welcome", "--user-id", "1", "--json")
    assert (sent.code, sent.data["to"]) == (0, "zoe@example.com")


#: A service whose Celery tasks send emails; its worker opens the delivery log before it forks.
CELERY_SHOP = """
import os
from types import SimpleNamespace

from celery import Celery

from mailctl.sync import EmailService

app = Celery("shop", broker=os.environ["SHOP_BROKER"])
app.conf.task_default_queue = "shop"
EmailService.prepare()


@app.task
def sign_up(number):
    user = SimpleNamespace(id=number, email=f"user{number}@example.com", username=f"user{number}")
    return EmailService.send_welcome_email(user, idempotency_key=f"sign-up-{number}")
"""


def test_celery_tasks_send_emails(
    production: Terminal, redis: RedisServer, smtp_server: ScriptedSmtpServer
) -> None:
    """From the forked processes of the service's own worker; a worker of mailctl sends them."""
    (production.folder / "celery_shop.py").write_text(CELERY_SHOP)
    production.environment |= {"SHOP_BROKER": redis.url, "PYTHONPATH": str(production.folder)}
    mail_worker = production.worker("-c", "1")
    command = ("-m", "celery", "-A", "celery_shop", "worker", "-P", "prefork", "-c", "2", "-l", "INFO")
    shop = production.open(production.python, *command, name="shop")
    shop.wait_until_printed("ready.")
    publish = "from celery_shop import sign_up; [sign_up.delay(n) for n in range(8)]"
    client = production.open(production.python, "-c", publish, name="client")
    assert client.wait() == 0, client.output
    mail_worker.wait_until(lambda: len(smtp_server.messages) == 8)
    listed = production.run("list", "--json").lines
    assert {each["to"] for each in listed} == {f"user{number}@example.com" for number in range(8)}
    assert shop.stop() == 0, shop.output
