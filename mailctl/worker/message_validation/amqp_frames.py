"""Tolerance for AMQP frames that py-amqp cannot decode.

An error in py-amqp would end the worker, and the broker would deliver the message again. AMQP allows bytes
where py-amqp expects UTF-8, and tables that nest without a limit.
"""

from __future__ import annotations

import logging
import struct
from functools import wraps
from typing import TYPE_CHECKING, Any

from amqp import serialization, spec
from amqp.basic_message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("mailctl.worker")
#: The sizes of properties that are neither strings nor tables, by type.
_FIXED_SIZES = {"o": 1, "L": 8}
_FIRST_FLAG = 0x8000
#: The types of values in a table.
_TIMESTAMP, _TABLE, _ARRAY = "TFA"
#: The bytes for type and length.
_CONTAINER_HEADER_SIZE = 5
_TOO_DEEP = "(nested too deep)"


def tolerate_properties() -> None:
    """Make py-amqp in this process decode every property that it can, instead of failing on the others."""
    decode = serialization.PROPERTY_CLASSES[spec.Basic.CLASS_ID]
    if not hasattr(decode, "__wrapped__"):
        serialization.PROPERTY_CLASSES[spec.Basic.CLASS_ID] = _tolerate_undecodable(decode)


def tolerate_deliveries(channel: Any) -> None:
    """Make a channel deliver messages whose routing key is not UTF-8."""
    dispatch = channel.dispatch_method

    @wraps(dispatch)
    def dispatch_tolerantly(method_sig: tuple[int, int], payload: bytes, content: Any) -> Any:
        try:
            return dispatch(method_sig, payload, content)
        except UnicodeDecodeError:
            if method_sig != spec.Basic.Deliver:
                raise
        return dispatch(method_sig, _replace_non_ascii(payload), content)

    channel.dispatch_method = dispatch_tolerantly


def _tolerate_undecodable(decode: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(decode)
    def decode_tolerantly(buf: bytes, offset: int) -> tuple[dict[str, Any], int]:
        try:
            properties, end = decode(buf, offset)
        except Exception:  # of any class
            return _readable_properties(bytes(buf), offset)
        return properties, end

    return decode_tolerantly


def _readable_properties(buf: bytes, offset: int) -> tuple[dict[str, Any], int]:
    (flags,) = struct.unpack_from(">H", buf, offset)
    offset += 2
    properties: dict[str, Any] = {}
    for number, (name, kind) in enumerate(Message.PROPERTIES):
        if not flags & (_FIRST_FLAG >> number):
            continue
        if kind in _FIXED_SIZES:
            end = offset + _FIXED_SIZES[kind]
            properties[name] = int.from_bytes(buf[offset:end])
        elif kind == "s":
            end = offset + 1 + buf[offset]
            properties[name] = buf[offset + 1 : end].decode(errors="replace")
        else:
            end = offset + 4 + int.from_bytes(buf[offset : offset + 4])
            properties[name] = _read_table(buf[offset:end])
        offset = end
    return properties, offset


def _read_table(buf: bytes) -> dict[Any, Any]:
    """Return a table, with the values replaced that cannot be decoded."""
    table: dict[Any, Any] = {}
    offset = 4
    try:
        while offset < len(buf):
            end = offset + 1 + buf[offset]
            name, offset = buf[offset + 1 : end], end
            value, offset = _read_top_level_value(buf, offset)
            table[_decode_name(name)] = value
    except Exception as error:  # a value of unknown type has an unknown length
        _log.debug("ignored the remaining headers of a message: %s", type(error).__name__)
    return table


def _read_top_level_value(buf: bytes, offset: int) -> tuple[Any, int]:
    try:
        return _read_value(buf, offset)
    except RecursionError:
        return _TOO_DEEP, _end_of_container(buf, offset)


def _read_value(buf: bytes, offset: int) -> tuple[Any, int]:
    kind = chr(buf[offset])
    if kind == _TIMESTAMP:
        try:
            return _read_scalar(buf, offset)
        except (ValueError, OverflowError, OSError):  # such as a timestamp in milliseconds
            end = offset + 1 + _FIXED_SIZES["L"]
            # Signed, because py-amqp encodes it as a signed number.
            return int.from_bytes(buf[offset + 1 : end], signed=True), end
    if kind == _TABLE:
        return _read_inner_table(buf, offset), _end_of_container(buf, offset)
    if kind == _ARRAY:
        return _read_inner_array(buf, offset), _end_of_container(buf, offset)
    return _read_scalar(buf, offset)


def _read_scalar(buf: bytes, offset: int) -> tuple[Any, int]:
    value, end = serialization._read_item(buf, offset)
    return value, end


def _read_inner_table(buf: bytes, offset: int) -> dict[Any, Any]:
    table, end = {}, _end_of_container(buf, offset)
    offset += _CONTAINER_HEADER_SIZE
    while offset < end:
        name_end = offset + 1 + buf[offset]
        name = _decode_name(buf[offset + 1 : name_end])
        table[name], offset = _read_value(buf, name_end)
    return table


def _read_inner_array(buf: bytes, offset: int) -> list[Any]:
    values, end = [], _end_of_container(buf, offset)
    offset += _CONTAINER_HEADER_SIZE
    while offset < end:
        value, offset = _read_value(buf, offset)
        values.append(value)
    return values


def _end_of_container(buf: bytes, offset: int) -> int:
    """Return the end of a table or an array, which starts with its type and its length."""
    return offset + _CONTAINER_HEADER_SIZE + int.from_bytes(buf[offset + 1 : offset + _CONTAINER_HEADER_SIZE])


def _decode_name(name: bytes) -> str | bytes:
    """Return the name of a header, as bytes if it is not UTF-8, like py-amqp."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name


def _replace_non_ascii(payload: bytes) -> bytes:
    """Return the arguments of a delivery with the non-ASCII bytes of its three strings replaced."""
    fixed, offset = bytearray(payload), 4
    for skipped in (0, 9, 0):  # delivery tag and a flag come between consumer and exchange
        offset += skipped
        end = offset + 1 + fixed[offset]
        fixed[offset + 1 : end] = bytes(byte if byte < 0x80 else ord("?") for byte in fixed[offset + 1 : end])
        offset = end
    return bytes(fixed)
