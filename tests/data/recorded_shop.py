"""A service of somebody else's that keeps its own email tasks, and has added one line: `record_tasks`."""

import asyncio
import os
import smtplib
import time
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
from celery import Celery, Task
from celery.signals import task_postrun

if os.environ.get("SHOP_RECORDS") == "yes":
    import mailctl

# Without results: nothing but the delivery log knows what has run.
app = Celery("shop", broker=os.environ["SHOP_BROKER"])
app.conf.update(
    task_default_queue="shop",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)
if os.environ.get("SHOP_RECORDS") == "yes":
    mailctl.record_tasks(app)

PORT = int(os.environ["SHOP_SMTP"])
#: What MAILCTL_TASKS names.
TASKS = {
    "shop.send_async_email": {"kind": "notice", "address": "message.to", "user_id": "message.user"},
    "shop.send_by_id": {"kind": "notice"},
    "shop.send_async": {"kind": "notice", "address": "to"},
    "shop.Newsletter": {"kind": "newsletter", "address": "to"},
    "shop.flaky": {"kind": "notice", "address": "to"},
    "shop.dawdle": {"kind": "notice", "address": "to"},
    "shop.forget": {"kind": "notice", "address": "to"},
    "shop.suppressed": {"kind": "notice", "address": "to"},
}


def compose(to, subject="Hello"):  # type: ignore[no-untyped-def]
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@shop.example", to, subject
    message["Message-ID"] = f"<{time.time_ns()}@shop.example>"
    message.set_content("Hello.")
    return message


def send(*to):  # type: ignore[no-untyped-def]
    with smtplib.SMTP("127.0.0.1", PORT) as server:
        return server.send_message(compose(", ".join(to)))


@app.task(name="send_password_reset_email_task")
def send_reset(user_data, reset_url):  # type: ignore[no-untyped-def]
    try:
        send(user_data["email"])
    except (OSError, smtplib.SMTPException):
        return False
    return True


@app.task(name="send_email_task")
def send_email(subject, recipients, template_name, context):  # type: ignore[no-untyped-def]
    send(*(each["email"] for each in recipients))


@app.task(bind=True, name="shop.send_async_email", max_retries=3)
def send_async_email(self, message):  # type: ignore[no-untyped-def]
    try:
        send(message["to"])
    except (OSError, smtplib.SMTPException) as error:
        raise self.retry(exc=error, countdown=0) from error


@app.task(name="shop.send_by_id")
def send_by_id(user_id):  # type: ignore[no-untyped-def]
    send(f"user{user_id}@example.com")


@app.task(name="shop.send_async")
def send_async(to):  # type: ignore[no-untyped-def]
    asyncio.run(aiosmtplib.send(compose(to), hostname="127.0.0.1", port=PORT, start_tls=False))


@app.task(
    autoretry_for=(smtplib.SMTPException,), retry_backoff=False, default_retry_delay=0, name="shop.flaky"
)
def flaky(to):  # type: ignore[no-untyped-def]
    send(to)


class Newsletter(Task):
    """A class of a task, with a call of its own around the work."""

    name = "shop.Newsletter"

    def __call__(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        Path("called.txt").touch()
        return super().__call__(*args, **kwargs)

    def run(self, to):  # type: ignore[no-untyped-def]
        send(to)


newsletter = app.register_task(Newsletter())


@app.task(name="shop.forget")
def forget(to):  # type: ignore[no-untyped-def]
    return "done"


@app.task(name="shop.suppressed")
def suppressed(to):  # type: ignore[no-untyped-def]
    from fastapi_mail import ConnectionConfig, FastMail, MessageSchema, MessageType

    config = ConnectionConfig(
        MAIL_USERNAME="", MAIL_PASSWORD="", MAIL_FROM="shop@shop.example", MAIL_PORT=PORT,
        MAIL_SERVER="127.0.0.1", MAIL_STARTTLS=False, MAIL_SSL_TLS=False, USE_CREDENTIALS=False,
        SUPPRESS_SEND=1,
    )  # fmt: skip
    message = MessageSchema(subject="Hello", recipients=[to], body="Hello.", subtype=MessageType.plain)
    asyncio.run(FastMail(config).send_message(message))


@app.task(name="shop.dawdle")
def dawdle(to):  # type: ignore[no-untyped-def]
    """Send, and dawdle before the end."""
    send(to)
    note_pid("sent")
    wait_for_file("finish")


@task_postrun.connect(weak=False)
def dawdle_after_the_end(sender, **_):  # type: ignore[no-untyped-def]
    """Dawdle between the end of the task and the acknowledgement of its message."""
    if os.environ.get("SHOP_DAWDLES") == "after":
        note_pid("ended")
        wait_for_file("acknowledge")


def note(name, *values):  # type: ignore[no-untyped-def]
    Path(f"{name}.txt").write_text(" ".join(values))


def note_pid(name):  # type: ignore[no-untyped-def]
    Path(f"{name}.tmp").write_text(str(os.getpid()))
    Path(f"{name}.tmp").rename(f"{name}.pid")


def wait_for_file(name):  # type: ignore[no-untyped-def]
    while not Path(name).exists():
        time.sleep(0.02)
