"""Frames of AMQP that py-amqp cannot decode: it would end the worker, and the broker would send them again.

The protocol carries octets where py-amqp expects UTF-8, and tables that nest without a limit.
"""

from __future__ import annotations

import struct
from functools import wraps
from typing import TYPE_CHECKING, Any

from amqp import serialization, spec
from amqp.basic_message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

#: Octets of properties that are no texts or tables.
_SIZES = {"o": 1, "L": 8}
_FIRST_FLAG = 0x8000


def tolerate_properties() -> None:
    """Let py-amqp give a message with as many of its properties as can be read, in this process."""
    decode = serialization.PROPERTY_CLASSES[spec.Basic.CLASS_ID]
    if not hasattr(decode, "__wrapped__"):
        serialization.PROPERTY_CLASSES[spec.Basic.CLASS_ID] = _tolerant(decode)


def tolerate_deliveries(channel: Any) -> None:
    """Let a channel deliver a message whose routing key is no UTF-8."""
    dispatch = channel.dispatch_method

    @wraps(dispatch)
    def dispatch_any(method_sig: tuple[int, int], payload: bytes, content: Any) -> Any:
        try:
            return dispatch(method_sig, payload, content)
        except UnicodeDecodeError:
            if method_sig != spec.Basic.Deliver:
                raise
        return dispatch(method_sig, _in_ascii(payload), content)

    channel.dispatch_method = dispatch_any


def _tolerant(decode: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(decode)
    def decode_any(buf: bytes, offset: int) -> tuple[dict[str, Any], int]:
        try:
            properties, end = decode(buf, offset)
        except Exception:  # whatever the octets make of it
            return _readable_properties(bytes(buf), offset)
        return properties, end

    return decode_any


def _readable_properties(buf: bytes, offset: int) -> tuple[dict[str, Any], int]:
    (flags,) = struct.unpack_from(">H", buf, offset)
    offset += 2
    properties: dict[str, Any] = {}
    for number, (name, kind) in enumerate(Message.PROPERTIES):
        if not flags & (_FIRST_FLAG >> number):
            continue
        if kind in _SIZES:
            end = offset + _SIZES[kind]
            properties[name] = int.from_bytes(buf[offset:end])
        elif kind == "s":
            end = offset + 1 + buf[offset]
            properties[name] = buf[offset + 1 : end].decode(errors="replace")
        else:
            end = offset + 4 + int.from_bytes(buf[offset : offset + 4])
            properties[name] = _table(buf[offset:end])
        offset = end
    return properties, offset


def _table(buf: bytes) -> dict[str, Any]:
    try:
        [table], _ = serialization.loads("F", buf, 0)
    except Exception:  # nests too deep, or is no table
        return {}
    return dict(table)


def _in_ascii(payload: bytes) -> bytes:
    """Return the arguments of a delivery with other octets of its three texts replaced."""
    fixed, offset = bytearray(payload), 4
    for skipped in (0, 9, 0):  # the delivery tag and a flag stand between the consumer and the exchange
        offset += skipped
        end = offset + 1 + fixed[offset]
        fixed[offset + 1 : end] = bytes(
            octet if octet < 0x80 else ord("?") for octet in fixed[offset + 1 : end]
        )
        offset = end
    return bytes(fixed)
