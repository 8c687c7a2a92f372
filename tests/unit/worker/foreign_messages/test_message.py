"""A message of another app is identified by a digest."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.worker.foreign_messages.message import (
    RAW_ATTRIBUTE,
    ForeignMessage,
    read_foreign_message,
    remember_raw,
)

RAW: dict[str, Any] = {"headers": {"id": "a1", "task": "warehouse.ship"}, "body": "W10="}


def read_raw(raw: dict[str, Any], queue: str = "celery") -> ForeignMessage:
    """Return the message in these bytes, from a broker that keeps no copy of it."""
    return read_foreign_message(SimpleNamespace(channel=None), raw, task="t", queue=queue)


def with_headers(headers: dict[Any, Any]) -> str:
    """Return the digest of a message with other headers."""
    return read_raw({**RAW, "headers": headers}).digest


def test_a_redelivered_message_has_the_same_digest() -> None:
    """Headers that brokers add to a redelivered message do not count."""
    again = {**RAW["headers"], "redelivered": True, "x-delivery-count": 2}
    assert with_headers(again) == read_raw(RAW).digest


def test_other_messages_have_other_digests() -> None:
    """They differ by a header, by the body, or by the queue."""
    retried = with_headers({**RAW["headers"], "retries": 1})
    digests = {
        read_raw(RAW).digest,
        retried,
        read_raw({**RAW, "body": "W11d"}).digest,
        read_raw(RAW, "other").digest,
    }
    assert len(digests) == 4


def test_headers_may_have_any_type() -> None:
    """Names need not be UTF-8."""
    first, again, other = (with_headers({b"caf\xe9": value, "x": 1}) for value in ("a", "a", "b"))
    assert first == again != other


def test_a_copy_has_the_same_digest() -> None:
    """A copy on AMQP has other names for two of the headers."""
    assert with_headers({"CC": ["a"], "x": 1}) == with_headers({"mailctl_cc": ["a"], "x": 1})
    assert with_headers({"CC": ["a"], "x": 1}) != with_headers({"CC": ["a"], "x": 2})


@pytest.mark.parametrize("body", ["ß" * 2**24, b"x" * 2**25], ids=["text", "bytes"])
def test_a_large_body_is_not_copied(body: str | bytes) -> None:
    """It is hashed in chunks."""
    tracemalloc.start()
    foreign = read_raw({**RAW, "body": body})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert foreign.size == 2**25
    assert peak < 2**23


def test_a_body_that_redis_has_unchanged_is_not_held() -> None:
    """The hash of unacknowledged messages has it."""
    message = SimpleNamespace(channel=SimpleNamespace(ack_emulation=True), _raw=RAW, body="W10=")
    foreign = read_foreign_message(message, RAW, task=None, queue="celery")
    assert (foreign.raw, foreign.size, foreign.task, message.body) == (None, 0, "", None)


def test_an_unclaimed_message_stays_unclaimed() -> None:
    """A queue for unclaimed messages has no such queue of its own."""
    assert read_raw(RAW).unclaimed_queue_name == "celery.unclaimed"
    assert read_raw(RAW, "celery.unclaimed").unclaimed_queue_name == "celery.unclaimed"


def test_an_amqp_channel_stores_what_the_driver_received() -> None:
    """Bodies are not decoded."""
    channel = SimpleNamespace(auto_decode=True, message_to_python=lambda raw: SimpleNamespace(body=raw))
    remember_raw(channel)
    assert getattr(channel.message_to_python(b"raw"), RAW_ATTRIBUTE) == b"raw"
    assert channel.auto_decode is False
