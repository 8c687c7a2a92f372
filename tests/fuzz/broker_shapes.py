"""Shapes of messages that only one broker has: what is in a list of Redis, and octets of AMQP."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.fuzz.envelopes import (
    ESCAPES,
    QUEUE,
    TASK,
    End,
    Shape,
    nested,
    shape_of,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def of_redis() -> Iterator[Shape]:
    """What a list of Redis can hold, and a frame of AMQP cannot."""
    for name, values in {
        "delivery_tag": [["x"], None, True, "", "x" * 5000, ESCAPES, {"x": 1}],
        "delivery_info": [None, [], "x", {}, {"exchange": "", "routing_key": nested(900)}],
        "priority": ["x", [1], -1, 10**400, float("inf"), 1e300, None],
        "body_encoding": ["base64", ["x"]],
    }.items():
        for number, value in enumerate(values):
            envelope = whole()
            envelope.properties[name] = value
            shape = shape_of(f"Redis: {name} {number}", envelope, End.RECORDED)
            yield replace(shape, raw=envelope.on_redis())
    keys: list[Any] = [["x"], {"x": 1}, 7, None, "x" * 300, "a\0b", "\ud800", ESCAPES, "another-queue", ""]
    for number, value in enumerate(keys):
        for name in ("routing_key", "exchange"):
            info = {"exchange": "", "routing_key": QUEUE, name: value}
            envelope = replace(whole(), properties={"delivery_info": info})
            yield replace(shape_of(f"Redis: {name} {number}", envelope, End.SENT), raw=envelope.on_redis())
    for key in ("body", "content-type", "content-encoding", "headers", "properties"):
        for number, value in enumerate([None, 7, ["x"], {"x": 1}, "x?", nested(900)]):
            envelope = whole()
            raw = json.loads(envelope.on_redis())
            has_id = key != "headers"
            raw[key] = value
            end = End.RECORDED if has_id else End.NOT_OURS
            shape = shape_of(f"Redis: {key} {number}", envelope, end)
            yield replace(shape, raw=json.dumps(raw).encode())
        envelope = whole()
        raw = json.loads(envelope.on_redis())
        del raw[key]
        end = End.RECORDED if key != "headers" else End.NOT_OURS
        yield replace(shape_of(f"Redis: no {key}", envelope, end), raw=json.dumps(raw).encode())
    broken = [
        b"\x80\x04\x95x",
        b"",
        b"x",
        b"7",
        b"null",
        b"[]",
        b"{}",
        b"[" * 5000,
        b'{"a": ',
        b'"x"',
        b"[1,",
    ]
    for number, octets in enumerate(broken):
        yield Shape(f"Redis: octets {number}", whole(), End.NOT_OURS, raw=octets)


def of_amqp() -> Iterator[Shape]:
    """What a frame of AMQP can hold, and JSON cannot."""
    for name, end in {"an_unknown_one": End.SENT, "timelimit": End.FAILED, "eta": End.FAILED}.items():
        for number, value in enumerate([Decimal("1.5"), datetime(2026, 1, 1, tzinfo=UTC), b"\xff\xfe"]):
            yield shape_of(f"AMQP: header {name} {number}", whole(**{name: value}), end)
    for name, part, end in (
        ("content type", b"application/json", End.FAILED),
        ("content encoding", b"utf-8", End.FAILED),
        ("name of a header", b"parent_id", End.SENT),
        ("task", TASK.encode(), End.NOT_OURS),
    ):
        shape = shape_of(f"AMQP: {name} is no UTF-8", whole(), end)
        octets = _octets(shape).replace(part, b"\xff" * len(part), 1)
        yield replace(shape, octets=octets)
    for name, octet in (
        ("is no UTF-8", b"\xff"),
        ("is of control characters", b"\x1b"),
        ("is of NUL", b"\0"),
    ):
        shape = shape_of(f"AMQP: correlation id {name}", whole(), End.SENT)
        head, id_, tail = _octets(shape).rpartition(str(shape.id).encode())
        yield replace(shape, octets=head + octet * len(id_) + tail)
    # Tables in tables: more of them than Python follows.
    table = b""
    for _ in range(5000):
        table = b"\x01aF" + len(table).to_bytes(4) + table
    shape = shape_of("AMQP: headers nest 5,000 levels", whole(), End.NOT_OURS)
    yield replace(shape, octets=b"\x20\x00" + len(table).to_bytes(4) + table)
    late = b"\x01xT" + b"\xff" * 8
    shape = shape_of("AMQP: a time out of range", whole(), End.NOT_OURS)
    yield replace(shape, octets=b"\x20\x00" + len(late).to_bytes(4) + late)
    for number, key in enumerate([b"\xff\xfe", "\0", ESCAPES, "x" * 255, "another-queue", ""]):
        yield replace(shape_of(f"AMQP: routing key {number}", whole(), End.SENT), key=key)


def _octets(shape: Shape) -> bytes:
    message = shape.envelope.on_amqp()
    assert message is not None
    return bytes(message._serialize_properties())
