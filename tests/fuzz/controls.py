"""Remote control messages that somebody may publish to all workers: commands, and what looks like one."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.fuzz.envelopes import ESCAPES, QUEUE, STOLEN, Envelope, nested

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Long enough for a regular expression to take for ever.
NAME = "mail@a-host-whose-name-is-of-some-length"
#: What is in messages and must not be in what a worker prints.
CANARY = "canary-5d1c"
REPLIES = "reply.celery.pidbox"
ENDLESS = r"([a-z@-]+)+!"


@dataclass(frozen=True)
class Control:
    """A control message, by a name."""

    name: str
    envelope: Envelope


def command(method: Any, arguments: Any = None, **fields: Any) -> Envelope:
    """Return a control message as kombu publishes it."""
    return encoded({"method": method, "arguments": {} if arguments is None else arguments, **fields})


def encoded(body: Any, **headers: Any) -> Envelope:
    """Return a message to all workers with this body."""
    return Envelope({"clock": 1, "expires": 0, **headers}, json.dumps(body).encode())


def malformed() -> list[Control]:
    """Return messages that no worker can obey, of whatever app."""
    return [*_bodies(), *_fields(), *_replies(), *_arguments()]


def not_for_mailctl() -> list[Control]:
    """Return commands that Celery obeys, and a worker of mailctl's own app does not."""
    wanted: Mapping[str, Any] = {
        "cancel_consumer": {"queue": QUEUE},
        "add_consumer": {"queue": STOLEN},
        "pool_grow": {"n": 3},
        "pool_shrink": {"n": 1},
        "pool_restart": {"modules": [], "reload": True},
        "autoscale": {"max": 3, "min": 1},
        "rate_limit": {"task_name": "send_welcome_email_task", "rate_limit": "1/h"},
        "time_limit": {"task_name": "send_welcome_email_task", "soft": 0.001, "hard": 0.001},
        "revoke": {"task_id": ["a", "b"], "terminate": True, "signal": "SIGKILL"},
        "terminate": {"task_id": ["a"], "signal": "SIGKILL"},
        "revoke_by_stamped_headers": {"headers": {"a": ["b"]}},
        "hello": {"from_node": "other@there", "revoked": ["a"]},
        "election": {"id": "a", "topic": "task", "action": {}},
        "objgraph": {"num": 200, "max_depth": 10, "type": "Request"},
        "memdump": {"samples": 10},
        "shutdown": {},
    }
    made = [Control(method, command(method, arguments)) for method, arguments in wanted.items()]
    everybody = command("shutdown", pattern="*", matcher="glob")
    spoken = command("shutdown", {"msg": CANARY}, destination=[NAME])
    return [*made, Control("shutdown by pattern", everybody), Control("shutdown with a text", spoken)]


def others() -> list[Control]:
    """Return commands for other workers."""
    return [
        Control("for another", command("pool_shrink", {"n": 1}, destination=["other@there"])),
        Control("for others by pattern", command("shutdown", pattern="other@*", matcher="glob")),
    ]


def _bodies() -> Iterator[Control]:
    bodies = {
        "not JSON": b"not json",
        "not UTF-8": b'{"method": "ping\xff"}',
        "a number": b"7",
        "a list": b"[]",
        "null": b"null",
        "an empty object": b"{}",
        "nests 900 levels": b'{"method": "ping", "arguments": ' + b"[" * 900 + b"]" * 900 + b"}",
        "nests 100,000 levels": b"[" * 100_000,
        "2 MiB": json.dumps({"method": "ping", "arguments": {"x": "x" * 2**21}}).encode(),
        "a damaged date": b'{"method": {"__type__": "datetime", "__value__": "x"}}',
        "a number of 5,000 digits": b'{"method": "pool_grow", "arguments": {"n": ' + b"9" * 5000 + b"}}",
    }
    for name, body in bodies.items():
        yield Control(f"body: {name}", Envelope({}, body))
    whole = command("ping").body
    yield Control("compressed", Envelope({"compression": "gzip"}, zlib.compress(whole)))
    bomb = zlib.compress(b" " * (200 * 2**20))
    yield Control("a bomb", Envelope({"compression": "gzip"}, bomb))
    yield Control("a bomb in its encoding", Envelope({}, bomb, content_encoding="zlib_codec"))
    pickled = Envelope({}, b"cos\nsystem\n(S'true'\ntR.", content_type="application/x-python-serialize")
    yield Control("a pickle", pickled)
    yield Control("no content type", Envelope({}, whole, content_type=None))
    for number, value in enumerate(["x", [1], 2**63 - 1, -1, nested(50)]):
        yield Control(f"clock: {number}", encoded({"method": "ping"}, clock=value))


def _fields() -> Iterator[Control]:
    for number, method in enumerate([None, "", 7, [], {}, "x" * 300, ESCAPES, CANARY, "__init__", "Panel"]):
        yield Control(f"method: {number}", command(method))
    wrong: Mapping[str, list[Any]] = {
        "arguments": ["x", 7, [1], nested(50), {"state": 1}, {"self": 1}, {"x": 10**400}, {ESCAPES: 1}],
        "destination": [7, NAME, f"not {NAME}", {"x": 1}, [NAME, 7], [[NAME]], [ESCAPES]],
        "ticket": [7, {}, ["x"], "x" * 300, ESCAPES],
        "self": [1],
        "state": [1],
        CANARY: [CANARY],
    }
    for field, values in wrong.items():
        for number, value in enumerate(values):
            body = {"method": "enable_events", "arguments": {}, field: value}
            yield Control(f"{field}: {number}", encoded(body))
    for number, (pattern, matcher) in enumerate(
        [(ENDLESS, "pcre"), ("a*" * 20, "pcre"), ("[", "pcre"), ("*", CANARY), (["*"], "glob"), ("*", {})]
    ):
        yield Control(f"pattern: {number}", command("ping", pattern=pattern, matcher=matcher))


def _replies() -> Iterator[Control]:
    """Return replies that would become messages on a queue of tasks, or cannot be sent at all."""
    addresses: list[Any] = [
        {"exchange": "", "routing_key": QUEUE},
        {"exchange": QUEUE, "routing_key": QUEUE},
        {"exchange": "any-key", "routing_key": QUEUE},
        {"exchange": "amq.topic", "routing_key": "x"},
        {"exchange": REPLIES},
        {"exchange": REPLIES, "routing_key": 7},
        {"exchange": REPLIES, "routing_key": "x" * 300},
        {"exchange": [REPLIES], "routing_key": "x"},
        {"exchange": {"x": 1}, "routing_key": "x"},
        {"routing_key": QUEUE},
        QUEUE,
        7,
        [QUEUE, QUEUE],
    ]
    for number, address in enumerate(addresses):
        yield Control(f"reply: {number}", command("active", ticket="t", reply_to=address))


def _arguments() -> Iterator[Control]:
    welcome = "send_welcome_email_task"
    wrong: Mapping[str, list[Any]] = {
        "shutdown": [{"msg": {"x": 1}}, {"msg": ESCAPES}, {"state": 1}],
        "cancel_consumer": [{}, {"queue": 7}, {"queue": [QUEUE]}, {"queue": {}}, {"queue": ESCAPES}],
        "add_consumer": [
            *({"queue": queue} for queue in (7, [QUEUE], {}, "", "x" * 300, ESCAPES)),
            {"queue": STOLEN, "exchange_type": "no such type"},
            {"queue": STOLEN, "exchange": {"x": 1}},
            {"queue": STOLEN, "routing_key": ["x"]},
            {"queue": STOLEN, "queue_arguments": {"x-max-length": "x"}},
            {"queue": STOLEN, "durable": "x"},
        ],
        "pool_grow": [{"n": n} for n in ("x", 10**9, 0, -1, 1.5, True, None, [1])],
        "pool_shrink": [{"n": n} for n in ("x", 10**9, 2, 0, -1, True, None)],
        "autoscale": [{"max": 10**9}, {"max": "x", "min": []}, {"min": -1}],
        "pool_restart": [{"modules": [7]}, {"modules": ["os"], "reload": "x"}],
        "rate_limit": [
            {"task_name": welcome, "rate_limit": rate}
            for rate in ("1/x", "x", [1], {}, "nan", "inf/s", -1, 1e300, "1/" + "s" * 99)
        ],
        "time_limit": [
            {"task_name": welcome, "soft": soft, "hard": hard}
            for soft, hard in (("x", None), (-1, 1), (None, [1]), (10**400, None), (1e300, 1), (True, 1))
        ],
        "revoke": [
            {"task_id": [7]},
            {"task_id": {"x": 1}},
            {"task_id": [["x"]]},
            {"task_id": [f"{n:036}" for n in range(3000)]},
            {"task_id": ["x" * 300]},
            {"task_id": "x", "terminate": "x"},
            {"task_id": "x", "terminate": True, "signal": {}},
        ],
        "terminate": [{"task_id": [7], "signal": "KILL"}, {"task_id": "x", "signal": [9]}],
        "revoke_by_stamped_headers": [
            {"headers": headers} for headers in (7, "x", ["x"], ["a=b=c"], {"x": 7}, {"x": [[]]}, {"": "x"})
        ],
        "hello": [{"from_node": 7}, {"from_node": "x", "revoked": [[]]}, {"from_node": "x", "revoked": 7}],
        "query_task": [{}, {"ids": 7}, {"ids": [{}]}, {"ids": [f"{n:036}" for n in range(3000)]}],
        "registered": [{"taskinfoitems": 7}, {"taskinfoitems": [7]}, {"builtins": "x"}],
        "conf": [{"with_defaults": "x"}, {"with_defaults": [1]}],
        "enable_events": [{"x": 1}],
        "ping": [{"state": 1}, {"": 1}],
        "stats": [{"x" * 300: "x" * 70_000}],
    }
    for method, values in wrong.items():
        for number, value in enumerate(values):
            yield Control(f"{method}: {number}", command(method, value))
