"""Every shape that a message may come in, by name, and what has to become of each, by broker."""

from __future__ import annotations

import bz2
import json
import lzma
import uuid
import zlib
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.fuzz.broker_shapes import of_amqp, of_redis
from tests.fuzz.envelopes import (
    BOMB,
    EMBED,
    ESCAPES,
    STOLEN,
    TASK,
    USER,
    End,
    Envelope,
    Shape,
    bare,
    in_time,
    nested,
    shape_of,
    signature,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def shapes() -> list[Shape]:
    """Return all of them, each with an id of its own."""
    made = [
        *_good(),
        *_headers(),
        *_times(),
        *_ids(),
        *_bodies(),
        *_compressed(),
        *_embedded(),
        *_protocol_1(),
        *_properties(),
        *_foreign(),
        *_own_tasks(),
        *of_redis(),
        *of_amqp(),
    ]
    names = [shape.name for shape in made]
    assert len(set(names)) == len(names), sorted(name for name in names if names.count(name) > 1)
    return made


def _good() -> Iterator[Shape]:
    yield shape_of("as Celery publishes it", whole(), End.SENT)
    traced = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "headers": {"sentry-trace": "a-b-1"}, "x": 1}
    yield shape_of("with headers of tracers", whole(**traced), End.SENT)
    yield shape_of("content encoding in capitals", replace(whole(), content_encoding="UTF-8"), End.SENT)
    yield shape_of("no content encoding", replace(whole(), content_encoding=None), End.SENT)


def _headers() -> Iterator[Shape]:
    wrong: Mapping[str, list[Any]] = {
        "timelimit": ["soon", 7, [1], [1, 2, 3], ["1", None], [10**400, None], [None, -1], [float("nan"), 1]],
        "retries": ["1", -1, 10**400, 1.5, [1]],
        "root_id": [["x"], {"x": 1}, "x" * 5000],
        "parent_id": [["x"], {"x": 1}],
        "group": [["x"], {"x": 1}, "x" * 5000],
        "shadow": [["x"], {"x": 1}, 7],
        "stamped_headers": ["x", [1], {"x": 1}],
        "stamps": ["x", ["x"], 7],
        "replaced_task_nesting": ["x", [1], -1],
        "an_unknown_one": ["x" * 70_000, float("inf"), 10**400],
    }
    for name, values in wrong.items():
        for number, value in enumerate(values):
            yield shape_of(f"header {name}, wrong value {number}", whole(**{name: value}), End.FAILED)
    deep = ("unknown", "timelimit", "eta", "root_id", "lang", "argsrepr", "origin", "stamps", "ignore_result")
    for name in deep:
        yield shape_of(f"header {name} nests 900 levels", whole(**{name: nested(900)}), End.RECORDED)
    harmless: Mapping[str, list[Any]] = {
        "timelimit": [[None, None], [0.001, 0.001], None],
        "shadow": [ESCAPES, "another_name", ""],
        "argsrepr": [["x"], {"x": 1}, ESCAPES],
        "kwargsrepr": [7, ESCAPES],
        "origin": [{"x": 1}, ESCAPES],
        "lang": [["x"], 7, None],
        "ignore_result": [["x"], "x", False],
        "root_id": [ESCAPES, ""],
        "parent_id": [ESCAPES],
        "an_unknown_one": [None, [1, {"x": [2]}], "\x00", "\ud800", {"x" * 200: 1}],
        "mailctl_refusal": ["not to be taken from outside"],
        "mailctl_not_before": ["2099-01-01T00:00:00+00:00"],
        "mailctl_expires": [7],
    }
    for name, values in harmless.items():
        for number, value in enumerate(values):
            yield shape_of(f"header {name}, odd value {number}", whole(**{name: value}), End.SENT)
    # What Celery's context of a task has, under the same name: attributes and methods.
    overriding = (
        "update",
        "get",
        "clear",
        "delivery_info",
        "hostname",
        "properties",
        "utc",
        "args",
        "kwargs",
    )
    for name in (
        *overriding,
        "called_directly",
        "is_eager",
        "loglevel",
        "reply_to",
        "correlation_id",
        "__dict__",
    ):
        yield shape_of(f"header {name} of the task's context", whole(**{name: "x"}), End.SENT)
    yield shape_of("5,000 headers", whole(**{f"x{n}": n for n in range(5000)}), End.SENT)
    yield shape_of("70,000 headers", whole(**{f"x{n}": n for n in range(70_000)}), End.FAILED)


def _times() -> Iterator[Shape]:
    for name in ("eta", "expires"):
        for number, value in enumerate(
            ["soon", 7, 1e300, ["x"], {"x": 1}, "0000-00-00", "2026-13-01T00:00:00", "1" * 5000, ESCAPES]
        ):
            yield shape_of(f"{name} is no time: {number}", whole(**{name: value}), End.FAILED)
        yield shape_of(f"{name} out of range", whole(**{name: "0001-01-01T00:00:00+23:59"}), End.FAILED)
    yield shape_of("eta in the past", whole(eta=in_time(days=-3)), End.SENT)
    yield shape_of("eta in an hour", whole(eta=in_time(hours=1)), End.SCHEDULED)
    yield shape_of("eta in an hour, no time zone", whole(eta=in_time(hours=1)[:26]), End.SCHEDULED)
    yield shape_of("eta in a month", whole(eta=in_time(days=30)), End.SCHEDULED)
    yield shape_of("eta in ten years", whole(eta=in_time(days=3653)), End.FAILED)
    yield shape_of("eta in the year 9999", whole(eta="9999-12-31T23:59:59.999999"), End.FAILED)
    yield shape_of("expired", whole(expires=in_time(days=-1)), End.EXPIRED)
    yield shape_of("expires in an hour", whole(expires=in_time(hours=1)), End.SENT)
    yield shape_of("expires in the year 9999", whole(expires="9999-12-31T23:59:59"), End.SENT)
    for number in range(40):
        yield shape_of(f"one of many far etas: {number}", whole(eta=in_time(hours=2)), End.SCHEDULED)


def _ids() -> Iterator[Shape]:
    odd: list[Any] = ["", "x" * 2000, "a\0b", "\ud800", 7, ESCAPES, "é" * 90, "two words"]
    for number, value in enumerate(odd):
        final = str(uuid.uuid5(uuid.NAMESPACE_OID, ascii(value)))
        yield shape_of(f"id is odd: {number}", whole(id=value), End.FAILED, id=final)
    for number, value in enumerate([["x"], {"x": 1}, nested(900), 1.5, True]):
        task_id = str(uuid.uuid4())
        envelope = replace(whole(), properties={"correlation_id": task_id})
        envelope.headers["id"] = value
        yield shape_of(f"id is no text: {number}", envelope, End.FAILED, id=task_id)
    envelope = whole()
    del envelope.headers["id"]
    yield shape_of("no id, a correlation id", envelope, End.FAILED)


def _bodies() -> Iterator[Shape]:
    deep = (b"[" * 900) + (b"]" * 900)
    user = json.dumps(USER).encode()
    bodies = {
        "not JSON": b"not json",
        "empty": b"",
        "cut off": b"[[], {",
        "two parts": b"[[], {}]",
        "four parts": b"[[], {}, {}, {}]",
        "a number": b"7",
        "null": b"null",
        "a text": b'"x"',
        "an empty object": b"{}",
        "arguments are an object": b"[{}, {}, {}]",
        "named arguments are a list": b"[[], [], {}]",
        "options are a list": b"[[], {}, []]",
        "arguments nest 900 levels": b"[" + deep + b", {}, {}]",
        "named arguments nest 900 levels": b'[[], {"user_data": ' + deep + b"}, {}]",
        "options nest 900 levels": b"[[], " + user + b', {"chain": ' + deep + b"}]",
        "JSON 3,000 levels deep": b'{"a": ' * 3000,
        "JSON 100,000 levels deep": b"[" * 100_000,
        "not UTF-8": b"[[], {\xff}, {}]",
        "a number of 5,000 digits": b'[[], {"user_data": ' + b"9" * 5000 + b"}, {}]",
        "one octet over 1 MiB": b'[[], {"x": "' + b"x" * 2**20 + b'"}, {}]',
        "8 MiB": b'[[], {"x": "' + b"x" * (8 * 2**20) + b'"}, {}]',
        "an unknown type": b'[[], {"__type__": "os.system", "__value__": "true"}, {}]',
        "a damaged date": b'[[], {"__type__": "datetime", "__value__": "x"}, {}]',
        "arguments of Python's": b'[[], {"self": 1, "__class__": 2}, {}]',
        "an argument that says it cannot be read": b'[[], {"mailctl_unreadable": "\\u001b]52;c;x"}, {}]',
    }
    for name, body in bodies.items():
        yield shape_of(f"body: {name}", replace(whole(), body=body), End.FAILED)
    for number, value in enumerate(
        ["application/x-python-serialize", "application/data", "text/plain", "", None]
    ):
        yield shape_of(f"content type: {number}", replace(whole(), content_type=value), End.FAILED)
    pickled = replace(
        whole(), content_type="application/x-python-serialize", body=b"cos\nsystem\n(S'true'\ntR."
    )
    yield shape_of("body: a pickle", pickled, End.FAILED)
    for charset in ("zlib_codec", "bz2_codec", "punycode", "unicode_escape", "no such thing", ESCAPES):
        packed = replace(whole(), content_encoding=charset)
        yield shape_of(f"content encoding {charset!a}", packed, End.FAILED)
        packed = replace(packed, content_type="application/data", body=_bomb(zlib.compress))
        yield shape_of(f"a bomb in the content encoding {charset!a}", packed, End.FAILED)


@cache
def _bomb(compress: Callable[[bytes], bytes]) -> bytes:
    """Return what expands to more than a process may take, in a few thousand octets."""
    start = b'[[], {"x": "'
    if compress is zlib.compress:  # of which one stream is read
        return compress(start + b"x" * BOMB)
    return compress(start) + compress(b"x" * 2**23) * (BOMB >> 19)


def _compressed() -> Iterator[Shape]:
    methods = {
        "zlib": zlib.compress,
        "gzip": zlib.compress,
        "application/x-gzip": zlib.compress,
        "bzip2": bz2.compress,
        "application/x-bz2": bz2.compress,
        "xz": lzma.compress,
        "lzma": lzma.compress,
    }
    for name, compress in methods.items():
        envelope = whole(compression=name)
        yield shape_of(f"{name}", replace(envelope, body=compress(envelope.body)), End.SENT)
        yield shape_of(f"{name}: a bomb", replace(whole(compression=name), body=_bomb(compress)), End.FAILED)
        cut = replace(whole(compression=name), body=compress(envelope.body)[:-5])
        yield shape_of(f"{name}: cut off", cut, End.FAILED)
        yield shape_of(f"{name}: not compressed at all", whole(compression=name), End.FAILED)
    for number, value in enumerate(["no such thing", ["gzip"], {"x": 1}, 7, nested(900)]):
        yield shape_of(f"unknown compression: {number}", whole(compression=value), End.FAILED)
    for number, value in enumerate(["", None, False]):
        yield shape_of(f"no compression: {number}", whole(compression=value), End.SENT)


def _embedded() -> Iterator[Shape]:
    asked: Mapping[str, Any] = {
        "callbacks": [signature()],
        "errbacks": [signature()],
        "chain": [signature()],
        "chord": signature("celery.chord_unlock"),
        "group": [signature()],
        "id": "another-id",
        "properties": {"reply_to": STOLEN},
        "delivery_info": 7,
        "update": None,
    }
    for name, value in asked.items():
        envelope = whole()
        body = json.dumps([[], USER, {**EMBED, name: value}]).encode()
        yield shape_of(f"embedded {name}", replace(envelope, body=body), End.SENT)
        yield shape_of(
            f"embedded {name} of an email that fails", _failing({**EMBED, name: value}), End.FAILED
        )
    for name in ("callbacks", "errbacks", "chain", "chord"):
        yield shape_of(f"{name} in the headers", whole(**{name: asked[name]}), End.SENT)
    unset = replace(whole(), body=json.dumps([[], USER, None]).encode())
    yield shape_of("nothing embedded", unset, End.SENT)


def _failing(embed: dict[str, Any]) -> Envelope:
    return replace(whole(), body=json.dumps([[], {"user_data": {}}, embed]).encode())


def _protocol_1() -> Iterator[Shape]:
    yield shape_of("protocol 1", bare(), End.SENT)
    yield shape_of("protocol 1: positional arguments", bare(args=[USER["user_data"]], kwargs={}), End.SENT)
    yield shape_of("protocol 1: eta", bare(eta=in_time(hours=1)), End.SCHEDULED)
    yield shape_of("protocol 1: expired", bare(expires=in_time(hours=-1)), End.EXPIRED)
    yield shape_of("protocol 1: calls back", bare(callbacks=[signature()], errbacks=[signature()]), End.SENT)
    yield shape_of("protocol 1: a chord", bare(chord=signature(), taskset="x"), End.SENT)
    for name, value in {"args": {}, "kwargs": [], "timelimit": "x", "retries": -1, "eta": "x"}.items():
        yield shape_of(f"protocol 1: wrong {name}", bare(**{name: value}), End.FAILED)
    yield shape_of("protocol 1: arguments nest 900 levels", bare(args=nested(900)), End.FAILED)
    task_id = str(uuid.uuid4())
    damaged = replace(bare(id=ESCAPES), properties={"correlation_id": task_id})
    yield shape_of("protocol 1: odd id", damaged, End.FAILED, id=task_id)
    envelope = whole()
    both = replace(bare(id=envelope.headers["id"]), headers=envelope.headers)
    yield shape_of("protocols 1 and 2 at once", both, End.SENT)
    packed = bare()
    packed = replace(packed, headers={"compression": "gzip"}, body=zlib.compress(packed.body))
    yield shape_of("protocol 1: compressed", packed, End.SENT)
    bomb = replace(bare(), headers={"compression": "gzip"}, body=_bomb(zlib.compress))
    yield replace(shape_of("protocol 1: a bomb", bomb, End.NOT_OURS), id=None)


def _properties() -> Iterator[Shape]:
    for name in ("correlation_id", "reply_to"):
        for number, value in enumerate([["x"], {"x": 1}, 7, "x" * 5000]):
            envelope = whole()
            envelope.properties[name] = value
            yield shape_of(f"property {name}, wrong value {number}", envelope, End.FAILED)
        for number, value in enumerate(["", None, ESCAPES]):
            envelope = whole()
            envelope.properties[name] = value
            yield shape_of(f"property {name}, odd value {number}", envelope, End.SENT)


def _foreign() -> Iterator[Shape]:
    """Tasks that mailctl's own app does not run."""
    built_in = ("backend_cleanup", "chord_unlock", "chunks", "starmap", "map", "group", "chain", "chord")
    for name in (*built_in, "accumulate"):
        asked = {"task": signature(), "tasks": [signature()], "it": [[]], "header": [signature()]}
        yield shape_of(f"built-in {name}", whole(f"celery.{name}", asked), End.NOT_OURS)
        envelope = whole(f"celery.{name}", asked)
        del envelope.headers["id"]
        yield replace(shape_of(f"built-in {name} without an id", envelope, End.NOT_OURS), id=None)
        bare_one = bare(task=f"celery.{name}", kwargs={})
        yield shape_of(f"built-in {name} of protocol 1", bare_one, End.NOT_OURS)
    for number, value in enumerate(
        ["", "no_such_task", ["x"], {"x": 1}, 7, ESCAPES, "x" * 5000, nested(900)]
    ):
        yield shape_of(f"unknown task {number}", whole(value), End.NOT_OURS)
        yield shape_of(f"unknown task {number} of protocol 1", bare(task=value), End.NOT_OURS)
    yield shape_of("unknown task, id of escapes", whole("no_such_task", id=ESCAPES), End.NOT_OURS)
    bomb = replace(whole("no_such_task", compression="gzip"), body=_bomb(zlib.compress))
    yield shape_of("unknown task, a bomb", bomb, End.NOT_OURS)


def _own_tasks() -> Iterator[Shape]:
    """Tasks of ours that are no emails."""
    for number, value in enumerate([None, "x", [["x"]], [7], ["no-such-email"], [ESCAPES]]):
        yield shape_of(f"batch {number}", whole("mailctl.deliver_batch", {"ids": value}), End.NOT_OURS)
    yield shape_of("batch: no list", replace(whole("mailctl.deliver_batch"), body=b"7"), End.NOT_OURS)
    for number, value in enumerate(["x", ["x"], ESCAPES, "no-such-email"]):
        yield shape_of(f"canary {number}", whole("mailctl.canary", {"email_id": value}), End.NOT_OURS)
    yield shape_of("reference to no email", whole(TASK, {"email_id": "no-such-email"}), End.NOT_OURS)
    yield shape_of("reference that is none", whole(TASK, {"email_id": ESCAPES}), End.FAILED)


def broadcasts() -> list[Envelope]:
    """Return messages to all workers, of which none is a command."""
    bodies = [b"x", b"7", b"[]", b"{}", b'{"method": [], "arguments": 7}', b"[" * 900 + b"]" * 900]
    bodies.append(json.dumps({"method": ESCAPES, "arguments": {}, "destination": 7}).encode())
    made = [Envelope({}, body) for body in bodies]
    bomb = Envelope({"compression": "gzip"}, _bomb(zlib.compress))
    return [*made, bomb, Envelope({"compression": "x"}, b"{}"), Envelope({}, b"{}", content_type="x/y")]
