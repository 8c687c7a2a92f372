"""AMQP frames that py-amqp cannot decode are read as far as possible."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from types import SimpleNamespace

import amqp
import pytest
from amqp import serialization, spec

from mailctl.worker.message_validation import amqp_frames


def test_properties_that_are_not_utf_8_are_replaced() -> None:
    """With py-amqp alone the connection ends, and the broker delivers the message again."""
    amqp_frames.tolerate_properties()
    message = amqp.Message(b"", content_type="a" * 7, application_headers={"id": "x"}, correlation_id="b" * 5)
    data = message._serialize_properties().replace(b"a" * 7, b"\xff" * 7)
    decode = serialization.PROPERTY_CLASSES[spec.Basic.CLASS_ID]
    properties, _ = decode(data, 0)
    assert properties["application_headers"] == {"id": "x"}
    assert properties["correlation_id"] == "b" * 5
    assert properties["content_type"] == "\ufffd" * 7


def test_only_an_undecodable_header_value_is_replaced() -> None:
    """An invalid timestamp becomes a number at any level, and other values stay."""
    amqp_frames.tolerate_properties()
    time = datetime(2026, 1, 1, tzinfo=UTC)
    seconds = int(time.timestamp())
    headers = {
        "id": "x",
        "sent": time,
        "inner": {"sent": time, "list": [1, time]},
        b"caf\xe9": 1,
        "last": "y",
    }
    message = amqp.Message(b"", application_headers=headers)
    data = message._serialize_properties()
    data = data.replace(struct.pack(">Q", seconds), struct.pack(">Q", seconds * 1000))
    properties, _ = serialization.PROPERTY_CLASSES[spec.Basic.CLASS_ID](data, 0)
    number = seconds * 1000
    assert properties["application_headers"] == {
        **headers,
        "sent": number,
        "inner": {"sent": number, "list": [1, number]},
    }


def test_a_header_that_nests_too_deep_is_replaced() -> None:
    """py-amqp reaches Python's recursion limit; the headers after it are decoded."""
    amqp_frames.tolerate_properties()
    deep = b""
    for _ in range(3000):
        deep = b"A" + struct.pack(">I", len(deep)) + deep
    table = b"\4deep" + deep + b"\4lastt\1"
    data = struct.pack(">HI", 0x2000, len(table)) + table
    properties, _ = serialization.PROPERTY_CLASSES[spec.Basic.CLASS_ID](data, 0)
    assert properties["application_headers"] == {"deep": "(nested too deep)", "last": True}


def test_a_delivery_with_a_routing_key_that_is_not_utf_8_is_dispatched_again() -> None:
    """The other bytes of its arguments stay as they are."""
    dispatched: list[bytes] = []

    def dispatch(_method: object, payload: bytes, _content: object) -> None:
        payload[-3:].decode()
        dispatched.append(payload)

    channel = SimpleNamespace(dispatch_method=dispatch)
    amqp_frames.tolerate_deliveries(channel)
    payload = b"\0\0\0\0" + b"\2c1" + b"\0" * 8 + b"\1" + b"\0" + b"\3k\xffy"
    channel.dispatch_method(spec.Basic.Deliver, payload, None)
    assert dispatched == [payload.replace(b"\xff", b"?")]


def test_other_frames_that_are_not_utf_8_raise_the_error_of_the_driver() -> None:
    """Only deliveries are repaired."""

    def dispatch(_method: object, payload: bytes, _content: object) -> None:
        payload.decode()

    channel = SimpleNamespace(dispatch_method=dispatch)
    amqp_frames.tolerate_deliveries(channel)
    with pytest.raises(UnicodeDecodeError):
        channel.dispatch_method(spec.Basic.Return, b"\xff", None)
