"""Headers are checked by type, size, depth and range."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mailctl.worker.message_validation import InvalidMessage
from mailctl.worker.message_validation.headers import (
    check_size,
    is_forwarded,
    is_name,
    is_nested_too_deep,
    parse_time,
    validate_headers,
)
from tests.unit.worker.message_validation.values import nested


@pytest.mark.parametrize(
    ("name", "valid", "invalid"),
    [
        ("timelimit", [None, 5.5], [None, -1]),
        ("retries", 3, -1),
        ("eta", "2026-01-01T00:00:00", "tomorrow"),
        ("root_id", "x" * 255, "x" * 256),
        ("shadow", "a name", ["a name"]),
        ("stamped_headers", ["a"], [1]),
        ("stamps", {}, []),
    ],
)
def test_a_header_that_celery_reads_must_be_valid(name: str, valid: Any, invalid: Any) -> None:
    """None counts as absent."""
    validate_headers({name: valid}, {})
    validate_headers({name: None}, {})
    with pytest.raises(InvalidMessage, match=f"its header {name} is invalid"):
        validate_headers({name: invalid}, {})


@pytest.mark.parametrize("name", ["correlation_id", "reply_to"])
def test_a_property_that_celery_reads_must_be_a_short_string(name: str) -> None:
    """AMQP allows no other, but Redis does."""
    validate_headers({}, {name: "x"})
    with pytest.raises(InvalidMessage, match=f"its property {name} is invalid"):
        validate_headers({}, {name: 7})


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, float("inf"), float("nan")])
def test_a_number_must_fit_into_64_bits(number: float) -> None:
    """Others cannot be sent over AMQP."""
    with pytest.raises(InvalidMessage, match="number"):
        check_size({"x": [number]}, "headers")


def test_the_size_is_that_of_all_values_together() -> None:
    """Names count as well."""
    check_size(["x" * 60_000], "headers")
    with pytest.raises(InvalidMessage, match="more than 65536 characters"):
        check_size({"x" * 40_000: "x" * 40_000}, "headers")


def test_the_depth_is_limited() -> None:
    """To the same level for both checks."""
    assert not is_nested_too_deep(nested(101))
    assert is_nested_too_deep(nested(102))
    assert is_nested_too_deep({"x": {"y": {}}}, limit=1)
    with pytest.raises(InvalidMessage, match="nest more than 100 levels"):
        check_size(nested(102), "headers")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("traceparent", "00-a-b-01", True),
        ("traceparent", "a\nb", False),
        ("traceparent", "x" * 8193, False),
        ("x", ["a list"], False),
        ("mailctl_x", "x", False),
        ("hostname", "x", False),
        (b"x", "x", False),
        ("headers", {"traceparent": "x"}, True),
        ("headers", {"hostname": "x"}, False),
        ("headers", "x", False),
    ],
)
def test_unknown_scalars_are_forwarded(name: object, value: object, expected: bool) -> None:
    """Neither private headers, nor those that would replace an attribute of the request."""
    assert is_forwarded(name, value) is expected


def test_a_time_is_converted_to_utc() -> None:
    """Without an offset it is in UTC already."""
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert parse_time(None) is None
    assert parse_time("2026-01-01T12:00:00") == parse_time("2026-01-01T13:00:00+01:00") == noon


@pytest.mark.parametrize("value", [7, "", "x" * 65, "9999-12-31T23:59:59-23:59"])
def test_other_values_are_not_times(value: object) -> None:
    """Nor is a time that overflows in UTC."""
    with pytest.raises(InvalidMessage, match="not a valid time"):
        parse_time(value)


@pytest.mark.parametrize(("value", "expected"), [("a name", True), ("", False), ("a\n", False), (7, False)])
def test_a_name_is_short_and_printable(value: object, expected: bool) -> None:
    """A log line can show it."""
    assert is_name(value) is expected
    assert not is_name("x" * 256)
