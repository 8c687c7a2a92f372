"""Random messages of the wire: good ones, and ones in which something is not what it should be."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.hostile.test_doors import VALUES

if TYPE_CHECKING:
    import random

TEXTS = [value for _, value, _ in VALUES if isinstance(value, str)]
ORIGIN = "https://shop.example"
TASKS = (
    "send_email_task",
    "send_welcome_email_task",
    "send_password_reset_email_task",
    "send_verification_email_task",
    "send_new_ip_notification_task",
)
#: What Celery reads of a message besides its task and id.
HEADERS = (
    "timelimit",
    "retries",
    "eta",
    "expires",
    "root_id",
    "parent_id",
    "group",
    "shadow",
    "argsrepr",
    "origin",
    "lang",
    "stamped_headers",
    "stamps",
    "ignore_result",
    "replaced_task_nesting",
)
#: Characters of the longest text.
LONG = 250_000


@dataclass(frozen=True)
class Wired:
    """A message as it lies on the broker."""

    raw: bytes
    #: The id under which it has to end in the log; None for what no task of ours receives, and for what
    #: only refers to an email.
    id: str | None
    #: Whether nothing is wrong with it.
    is_good: bool


def make(chance: random.Random, number: int) -> Wired:
    """Return a message."""
    task = chance.choice(TASKS)
    kwargs = _arguments(task, number)
    dice = chance.random()
    if dice < 0.2:
        return _wired(task, str(uuid.uuid4()), [], kwargs, is_good=True)
    if dice < 0.26:
        return _broken(chance, task, kwargs)
    task_id: Any = str(uuid.uuid4())
    args: list[Any] = []
    for _ in range(chance.randint(1, 3)):
        _damage(chance, kwargs)
    if chance.random() < 0.1:
        args = [_value(chance) for _ in range(chance.randint(1, 8))]
    if chance.random() < 0.1:
        kwargs[chance.choice(["email_id", "x", "", "self", "a\n", *TEXTS])] = _value(chance)
    if chance.random() < 0.1:
        task_id = chance.choice([_text(chance), "x" * 2000, "a\0b", "\ud800", 7, "", "é" * 90])
    headers = {chance.choice(HEADERS): _value(chance)} if chance.random() < 0.1 else {}
    return _wired(task, task_id, args, kwargs, headers=headers)


def _arguments(task: str, number: int) -> dict[str, Any]:
    address = f"user{number}@example.com"
    user = {"id": number, "username": f"user{number}", "email": address, "first_name": "Ada"}
    more: dict[str, dict[str, Any]] = {
        "send_email_task": {
            "subject": "Hello",
            "recipients": [{"name": "Ada", "email": address}],
            "template_name": "message",
            "context": {"body": "x", "title": "Hello"},
        },
        "send_welcome_email_task": {},
        "send_password_reset_email_task": {"reset_url": f"{ORIGIN}/r?t=1"},
        "send_verification_email_task": {"verification_url": f"{ORIGIN}/v?t=1"},
        "send_new_ip_notification_task": {
            "ip_address": "203.0.113.7",
            "whitelist_url": f"{ORIGIN}/w",
            "blacklist_url": f"{ORIGIN}/b",
        },
    }
    given = more[task]
    return given if task == "send_email_task" else {"user_data": user, **given}


def _damage(chance: random.Random, value: Any) -> None:
    """Change, remove or add something somewhere inside."""
    while isinstance(value, dict | list) and value:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = chance.choice(keys)
        if isinstance(value[key], dict | list) and value[key] and chance.random() < 0.7:
            value = value[key]
            continue
        dice = chance.random()
        if dice < 0.15:
            del value[key]
        elif dice < 0.25 and isinstance(value, dict):
            value[_text(chance)] = _value(chance)
        elif dice < 0.3 and isinstance(value, list):
            value.extend([value[key]] * chance.randint(1, 150))
        else:
            value[key] = _value(chance)
        return


def _value(chance: random.Random, depth: int = 0) -> Any:
    dice = chance.random()
    if dice < 0.5:
        return _text(chance)
    if dice < 0.65:
        return chance.choice(
            [None, True, False, 0, -1, 2**31, 2**63, 10**400, 0.1, float("nan"), float("inf")]
        )
    if dice < 0.7:
        return chance.choice(["x" * LONG, "http://evil.com " * 1000, "{{ 7 * 7 }}" * 50, "\n" * 1000])
    if dice < 0.75:
        return _nested(chance.choice([5, 30, 300]))
    if depth > 3:
        return []
    if dice < 0.87:
        return [_value(chance, depth + 1) for _ in range(chance.randint(0, 4))]
    return {_text(chance): _value(chance, depth + 1) for _ in range(chance.randint(0, 4))}


def _text(chance: random.Random) -> str:
    if chance.random() < 0.6:
        return chance.choice(TEXTS)
    alphabet = "ab@.:/<>{}%\"'\\\r\n\0\t \u202e\u200b\u0430\ud800\U0001f511é"
    return "".join(chance.choice(alphabet) for _ in range(chance.randint(0, 40)))


def _nested(depth: int) -> Any:
    value: Any = "x"
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    return value


def _broken(chance: random.Random, task: str, kwargs: dict[str, Any]) -> Wired:
    """Return a message that Celery itself cannot read, or that is for nobody."""
    task_id = str(uuid.uuid4())
    if chance.random() < 0.3:
        return Wired(raw=_rubbish(chance, task, kwargs), id=None, is_good=False)
    dice = chance.randint(0, 5)
    if dice == 0:
        return _wired("no_such_task", task_id, [], kwargs, is_ours=False)
    if dice == 1:
        return _wired("mailctl.deliver_batch", task_id, [_value(chance)], {}, is_ours=False)
    bodies = [b"not json", b"[1, 2", json.dumps(chance.choice([[1, 2], 7, None, {"args": 1}])).encode()]
    bodies.append(b'{"a": ' * 3000)
    return _wired(task, task_id, [], kwargs, body=bodies[dice - 2])


def _rubbish(chance: random.Random, task: str, kwargs: dict[str, Any]) -> bytes:
    """Return bytes that are no message, or one whose envelope is damaged."""
    if chance.random() < 0.5:
        return chance.choice(
            [b"\x80\x04junk", b"not json", b"[1", b"{}", b"[]", b"7", b"null", b'"x"', b"[" * 5000]
        )
    whole = json.loads(_wired(task, str(uuid.uuid4()), [], kwargs).raw)
    place = chance.choice([whole, whole["properties"], whole["headers"]])
    key = chance.choice(list(place))
    if chance.random() < 0.5:
        del place[key]
    else:
        place[key] = _value(chance)
    return json.dumps(whole).encode()


def _wired(
    task: str,
    task_id: Any,
    args: list[Any],
    kwargs: dict[str, Any],
    *,
    is_good: bool = False,
    is_ours: bool = True,
    body: bytes | None = None,
    headers: dict[str, Any] | None = None,
) -> Wired:
    is_reference = body is None and _is_usable(kwargs.get("email_id"))
    if body is None:
        embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
        body = json.dumps([args, kwargs, embed]).encode()
    message = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": task,
            "id": task_id,
            "root_id": task_id,
            "parent_id": None,
            "group": None,
            "argsrepr": "()",
            "kwargsrepr": "{}",
            "origin": "fuzz",
            **(headers or {}),
        },
        "properties": {
            "correlation_id": task_id,
            "reply_to": str(uuid.uuid4()),
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "celery"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }
    final_id = task_id if _is_usable(task_id) else str(uuid.uuid5(uuid.NAMESPACE_OID, ascii(task_id)))
    return Wired(
        raw=json.dumps(message).encode(),
        id=final_id if is_ours and not is_reference else None,
        is_good=is_good,
    )


def _is_usable(task_id: object) -> bool:
    return (
        isinstance(task_id, str) and 0 < len(task_id) <= 155 and all("!" <= char <= "~" for char in task_id)
    )
