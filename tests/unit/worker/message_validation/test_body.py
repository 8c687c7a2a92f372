"""The body of a message is checked before and after it is parsed."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest

from mailctl.worker.message_validation import IncomingMessage, InvalidMessage
from mailctl.worker.message_validation.body import (
    check_charset,
    decompressed_body,
    parse_body,
    service_task_body,
)

MESSAGE = IncomingMessage(headers={}, body=b"[[1], {}, {}]")
DEEP = b"[" * 102 + b"]" * 102


@pytest.mark.parametrize("encoding", [None, "", "utf-8", "UTF-8", "us-ascii", "binary"])
def test_a_content_encoding_may_be_a_character_set(encoding: object) -> None:
    """In any case, or absent."""
    check_charset(encoding)


@pytest.mark.parametrize("encoding", ["zlib_codec", "hex", "utf-8\n", 7, ["utf-8"]])
def test_other_content_encodings_are_refused(encoding: object) -> None:
    """Some codecs of Python expand the body."""
    with pytest.raises(InvalidMessage, match="not a known character set"):
        check_charset(encoding)


def test_a_body_is_decompressed_within_the_limit() -> None:
    """The limit applies to the compressed body as well."""
    compressed = IncomingMessage(headers={"compression": "gzip"}, body=zlib.compress(b"x" * 100))
    assert decompressed_body(compressed, limit=100) == b"x" * 100
    with pytest.raises(InvalidMessage, match="decompresses to more than 99 bytes"):
        decompressed_body(compressed, limit=99)
    with pytest.raises(InvalidMessage, match="more than 5 bytes"):
        decompressed_body(compressed, limit=5)


def test_a_damaged_body_is_refused() -> None:
    """So is one that is compressed by an unknown method."""
    for method in ("gzip", "unknown"):
        with pytest.raises(InvalidMessage, match="cannot be decompressed"):
            decompressed_body(IncomingMessage(headers={"compression": method}, body=b"x"), limit=10)


def test_a_body_that_is_not_json_is_refused_without_a_quotation() -> None:
    """The error of the parser may quote a secret."""
    with pytest.raises(InvalidMessage) as caught:
        parse_body(replace(MESSAGE, body=b"secret"))
    assert str(caught.value) == "its body cannot be decoded (JSONDecodeError)."


def test_a_deep_body_is_refused() -> None:
    """For tasks of mailctl and of a service."""
    assert parse_body(MESSAGE) == [[1], {}, {}]
    for read in (parse_body, service_task_body):
        with pytest.raises(InvalidMessage, match="nests more than 100 levels"):
            read(replace(MESSAGE, body=DEEP))


def test_a_service_may_use_other_serializers() -> None:
    """Their bodies are not parsed."""
    packed = replace(MESSAGE, content_type="application/x-msgpack", body=DEEP)
    assert service_task_body(packed) == DEEP
    with pytest.raises(InvalidMessage, match="content type"):
        parse_body(packed)
