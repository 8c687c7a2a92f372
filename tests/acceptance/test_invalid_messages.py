"""A worker drops invalid messages with one line in its log each, and continues."""

from __future__ import annotations

import base64
import json
import uuid
from typing import TYPE_CHECKING, Any

from tests.fuzz.brokers import MAILBOX
from tests.fuzz.messages import HEADERS

if TYPE_CHECKING:
    from tests.acceptance.terminal import Terminal
    from tests.servers import RedisServer
    from tests.smtp_server import ScriptedSmtpServer

QUEUE = "celery"
CANARY = f"canary-{uuid.uuid4().hex}"
GOOD: dict[str, Any] = {"user_data": {"id": 7, "email": "zoe@example.com", "username": "zoe"}}


def message(task: Any, kwargs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A message as Celery writes it."""
    task_id = changes.pop("id", str(uuid.uuid4()))
    body = json.dumps([[], kwargs, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": task, "id": task_id, "kwargsrepr": repr(kwargs)},
        "properties": {
            "correlation_id": task_id,
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
        **changes,
    }


def invalid_messages() -> list[bytes]:
    """Return invalid messages, with a secret in each that can contain one."""
    secret = {"reset_url": f"https://shop.example/{CANARY}"}
    whole = message("send_welcome_email_task", secret)
    envelopes: list[Any] = [
        message("no_such_task", secret),
        message(["a", "list"], secret),
        message({"a": CANARY}, secret),
        message(None, secret),
        {**whole, "headers": {CANARY: CANARY}},
        {**whole, "headers": None},
        {**whole, "headers": CANARY},
        {**whole, "body": f"{CANARY}?"},
        {**whole, "body": [CANARY]},
        {**whole, "properties": CANARY},
        {**whole, "properties": {"body_encoding": "base64"}},
        {**whole, "properties": {**whole["properties"], "body_encoding": CANARY}},
        {**whole, "properties": {**whole["properties"], "delivery_tag": [CANARY]}},
        {**whole, "properties": {**whole["properties"], "delivery_tag": None}},
        {**whole, "properties": {**whole["properties"], "delivery_tag": True}},
        {**whole, "content-type": f"application/{CANARY}", "headers": {}},
        [CANARY],
        {CANARY: 1},
        CANARY,
        None,
        7,
    ]
    damaged = [{**whole, "headers": {**whole["headers"], name: [CANARY]}} for name in HEADERS]
    raw = [b"\x80\x04\x95" + CANARY.encode(), CANARY.encode(), b"", b"[" * 5000, b'{"a": ']
    return raw + [json.dumps(each).encode() for each in envelopes + damaged]


def test_invalid_messages_do_not_end_a_worker_and_are_not_printed(
    production: Terminal, redis: RedisServer, smtp_server: ScriptedSmtpServer
) -> None:
    """Neither in a queue nor broadcast; emails behind them are sent."""
    worker = production.worker("-c", "1", "-l", "INFO", "--drop-foreign")
    good, with_self = str(uuid.uuid4()), str(uuid.uuid4())
    with redis.client() as client:
        for said in (CANARY, json.dumps({CANARY: 1})):
            worker.wait_until(lambda said=said: client.publish(MAILBOX, said))  # which begins to listen soon
        for raw in invalid_messages():
            client.lpush(QUEUE, raw)
        for task_id, arguments in ((with_self, {**GOOD, "self": 1}), (good, GOOD)):
            client.lpush(QUEUE, json.dumps(message("send_welcome_email_task", arguments, id=task_id)))
        production.wait_for(good, "sent")
        assert "unexpected keyword argument 'self'" in production.wait_for(with_self, "failed")["error"]
        worker.wait_until(lambda: not client.llen(QUEUE) and not client.hlen("unacked"))
    assert worker.process.poll() is None
    assert len(smtp_server.messages) == 1
    assert "dropped an unreadable message (JSONDecodeError)" in worker.output
    assert "dropped a message for the unknown task 'no_such_task' (id '" in worker.output
    assert CANARY not in worker.output
    assert "Traceback" not in worker.output
    assert worker.stop() == 0


def test_a_wrong_setting_loses_no_message(
    production: Terminal, redis: RedisServer, smtp_server: ScriptedSmtpServer
) -> None:
    """FRONTEND_URL is that of development: what has a link waits until the setting is corrected."""
    link = f"https://shop.example/link?t={CANARY}"
    new_ip = {"ip_address": "203.0.113.7", "whitelist_url": link, "blacklist_url": link}
    arguments = {
        "send_welcome_email_task": GOOD,
        "send_password_reset_email_task": GOOD | {"reset_url": link},
        "send_verification_email_task": GOOD | {"verification_url": link},
        "send_new_ip_notification_task": GOOD | new_ip,
    }
    ids = {task: str(uuid.uuid4()) for task in arguments}
    with redis.client() as client:
        for task, kwargs in arguments.items():
            client.lpush(QUEUE, json.dumps(message(task, kwargs, id=ids[task])))
    welcome, *waiting = ids.values()
    worker = production.worker("-c", "1", FRONTEND_URL="http://localhost:3000")
    production.wait_for(welcome, "sent")
    for status in production.wait_for_all(waiting, "deferred"):
        assert (status["to"], status["attempts"]) == ("zoe@example.com", 0)
        assert "FRONTEND_URL" in status["explanation"]
    assert worker.stop() == 0
    found = production.run("list", "--to", "zoe", "--state", "deferred", "--json").lines
    assert {each["task_id"] for each in found} == set(waiting)
    shown = production.run("show", waiting[0])
    assert (shown.code, CANARY in shown.out) == (0, False)
    production.worker("-c", "1")
    production.wait_for_all(waiting, "sent")
    assert len(smtp_server.messages) == len(ids)


def test_unreadable_bytes_on_a_shared_queue_are_moved_aside(production: Terminal, redis: RedisServer) -> None:
    """They stay the same byte for byte, because they may belong to another program."""
    raw = [b"\x80\x04\x95" + CANARY.encode(), CANARY.encode(), b""]
    worker = production.worker("-c", "1", "-l", "INFO")
    with redis.client() as client:
        for each in raw:
            client.lpush(QUEUE, each)
        worker.wait_until(lambda: client.llen(f"{QUEUE}.unclaimed") == len(raw))
        assert client.lrange(f"{QUEUE}.unclaimed", 0, -1)[::-1] == raw
        assert not client.hlen("unacked")
    assert "moved an unreadable message from queue 'celery' to 'celery.unclaimed' (" in worker.output
    assert CANARY not in worker.output
    assert worker.stop() == 0
