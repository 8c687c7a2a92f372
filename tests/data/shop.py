"""A service of somebody else's: a plain Celery app whose own tasks have the names of the wire."""

import json
import os
from pathlib import Path

from celery import Celery

app = Celery("shop", broker=os.environ["SHOP_REDIS"], backend=os.environ["SHOP_REDIS"])
app.conf.task_default_queue = "shop"
RECEIVED = Path("received.jsonl")


def note(name: str, **arguments: object) -> bool:
    with RECEIVED.open("a") as stream:
        stream.write(json.dumps({"task": name, **arguments}) + "\n")
    return True


@app.task(name="send_email_task")
def send_email(subject, recipients, template_name, context):  # type: ignore[no-untyped-def]
    return note("email", subject=subject, recipients=recipients, template=template_name, context=context)


@app.task(name="send_welcome_email_task")
def send_welcome(user_data):  # type: ignore[no-untyped-def]
    return note("welcome", user=user_data)


@app.task(name="send_password_reset_email_task")
def send_reset(user_data, reset_url):  # type: ignore[no-untyped-def]
    return note("reset", user=user_data, url=reset_url)


@app.task(name="send_verification_email_task")
def send_verification(user_data, verification_url):  # type: ignore[no-untyped-def]
    if user_data["username"] == "broken":
        raise ValueError("the service's own trouble")
    return note("verification", user=user_data, url=verification_url)


@app.task(name="send_new_ip_notification_task")
def send_new_ip(user_data, ip_address, whitelist_url, blacklist_url):  # type: ignore[no-untyped-def]
    return note("new-ip", user=user_data, ip=ip_address, allow=whitelist_url, block=blacklist_url)


@app.task(name="shop.double")
def double(number):  # type: ignore[no-untyped-def]
    return number * 2


@app.task(name="shop.note")
def note_number(number):  # type: ignore[no-untyped-def]
    note("number", number=number)
    return number
