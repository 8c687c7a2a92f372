"""What one would write without mailctl: a Celery task an email, which renders and sends it by itself."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from celery import Celery
from fastapi_mail import ConnectionConfig, FastMail, MessageSchema, MessageType, NameEmail
from pydantic import SecretStr

URL = os.environ.get("NAIVE_REDIS", "")
#: Counts what has been sent.
DONE = "naive-done"
#: Not Celery's default, which the worker beside it consumes too: it would return the messages, and slow both.
QUEUE = "naive"

app = Celery("naive", broker=URL, backend=URL)
app.conf.worker_hijack_root_logger = False
app.conf.task_default_queue = QUEUE


@app.task(name="naive.send", shared=False)
def send(address: str, name: str) -> None:
    """Send one email."""
    config = ConnectionConfig(
        MAIL_USERNAME="",
        MAIL_PASSWORD=SecretStr(""),
        MAIL_FROM="app@example.com",
        MAIL_PORT=int(os.environ["NAIVE_PORT"]),
        MAIL_SERVER="127.0.0.1",
        MAIL_STARTTLS=False,
        MAIL_SSL_TLS=False,
        USE_CREDENTIALS=False,
        TEMPLATE_FOLDER=Path(os.environ["NAIVE_TEMPLATES"]),
    )
    message = MessageSchema(
        subject="Welcome",
        recipients=[NameEmail(name=name, email=address)],
        template_body={"name": name},
        subtype=MessageType.html,
    )
    asyncio.run(FastMail(config).send_message(message, template_name="welcome.html"))
    app.backend.client.incr(DONE)
