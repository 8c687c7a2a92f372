"""The body of a message: its size, compression, character set and nesting, checked before it is parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kombu.utils.json

from mailctl.worker.message_validation.decompression import DecompressedTooLarge, decompress
from mailctl.worker.message_validation.headers import MAX_DEPTH, is_nested_too_deep
from mailctl.worker.message_validation.models import JSON_CONTENT_TYPE, InvalidMessage

if TYPE_CHECKING:
    from mailctl.worker.message_validation.models import IncomingMessage

#: The JSON module of kombu, which supports more types than the standard library's; it has no type hints.
kombu_json: Any = kombu.utils.json
#: Bytes of the decompressed body of a message for a task of mailctl.
MAX_BODY = 2**20
#: The same for tasks of a service.
MAX_SERVICE_BODY = 64 * 2**20
#: Python's other codecs, such as zlib_codec, are not character sets.
_CHARSETS = frozenset(
    {"", "utf-8", "utf8", "us-ascii", "ascii", "latin-1", "iso-8859-1", "utf-16", "utf-32", "binary"}
    | {"ascii-8bit", "base64"}
)


def parse_body(message: IncomingMessage) -> Any:
    """Return the value of the JSON body of a message for a task of mailctl.

    Raises:
        InvalidMessage: the body is not JSON in a known character set, or it is too large or too deep.
    """
    if message.content_type != JSON_CONTENT_TYPE:
        raise InvalidMessage(f"its content type is not {JSON_CONTENT_TYPE}.")
    check_charset(message.content_encoding)
    body = decompressed_body(message, limit=MAX_BODY)
    value = parse_json(body)
    check_nesting(body, value)
    return value


def service_task_body(message: IncomingMessage) -> Any:
    """Return the decompressed body of a message for a task of a service.

    Raises:
        InvalidMessage: the body would harm the worker.
    """
    check_charset(message.content_encoding)
    body = decompressed_body(message, limit=MAX_SERVICE_BODY)
    if message.content_type == JSON_CONTENT_TYPE and _max_nesting(body) > MAX_DEPTH:
        check_nesting(body, parse_json(body))
    return body


def decompressed_body(message: IncomingMessage, *, limit: int) -> Any:
    """Return the body of a message, decompressed if it is compressed.

    Args:
        message: the message.
        limit: the greatest number of bytes before and after decompression.

    Raises:
        InvalidMessage: the body is too large, or damaged.
    """
    body, method = message.body, (message.headers or {}).get("compression")
    if len(body) <= limit and method:
        try:
            body = decompress(body.encode() if isinstance(body, str) else bytes(body), method, limit=limit)
        except DecompressedTooLarge:
            raise InvalidMessage(f"its body decompresses to more than {limit} bytes.") from None
        except ValueError as error:
            raise InvalidMessage(f"its body cannot be decompressed: {error}.") from None
    if len(body) > limit:
        raise InvalidMessage(f"its body has more than {limit} bytes.")
    return body


def parse_json(body: Any) -> Any:
    """Return the value of a JSON text.

    Raises:
        InvalidMessage: the text is not JSON.
    """
    try:
        return kombu_json.loads(body)
    except Exception as error:
        # Without the text of the error, which may quote the body.
        raise InvalidMessage(f"its body cannot be decoded ({type(error).__name__}).") from None


def check_charset(content_encoding: object) -> None:
    """Check that a content encoding is a character set; other codecs could expand the body.

    Raises:
        InvalidMessage: it is not.
    """
    charset = content_encoding or ""
    if not isinstance(charset, str) or charset.lower() not in _CHARSETS:
        raise InvalidMessage("its content encoding is not a known character set.")


def check_nesting(body: Any, value: object) -> None:
    """Check how deep a parsed body nests.

    Raises:
        InvalidMessage: it nests too deep.
    """
    if _max_nesting(body) > MAX_DEPTH and is_nested_too_deep(value):
        raise InvalidMessage(f"its body nests more than {MAX_DEPTH} levels.")


def _max_nesting(body: Any) -> int:
    """Return an upper bound for the nesting of a JSON text, which is faster than the exact depth."""
    if isinstance(body, str):
        return body.count("[") + body.count("{")
    data = bytes(body)
    return data.count(b"[") + data.count(b"{")
