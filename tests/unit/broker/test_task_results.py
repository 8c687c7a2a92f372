"""Stored results are read whatever program wrote them."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.exceptions import SerializationError

from mailctl.broker.task_results import as_raw_reader, parse_result, read_stored_meta, successful_value

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Backend:
    """A result backend that would convert results."""

    def __init__(self) -> None:
        self.entry: Any = {"status": "SUCCESS"}

    def meta_from_decoded(self, meta: object) -> object:
        raise AssertionError(meta)

    def get_task_meta(self, _task_id: str, *, cache: bool) -> object:
        assert not cache
        return self.meta_from_decoded(self.entry)


def test_a_reader_shares_the_connections_and_converts_nothing() -> None:
    """The original backend stays as it is."""
    backend = Backend()
    reader = as_raw_reader(backend)
    backend.entry["status"] = "FAILURE"
    assert read_stored_meta(reader, "a") == {"status": "FAILURE"}
    with pytest.raises(AssertionError):
        backend.get_task_meta("a", cache=False)


@pytest.mark.parametrize("error", [SerializationError(), RecursionError()])
def test_an_entry_that_cannot_be_decoded_is_none(error: Exception) -> None:
    """It may be damaged, or nest too deep."""

    def fail(_task_id: str, *, cache: bool) -> object:
        raise error

    assert read_stored_meta(SimpleNamespace(get_task_meta=fail), "a") is None


@pytest.mark.parametrize(
    ("meta", "state", "text", "is_from_mailctl"),
    [
        ({"status": "SUCCESS", "result": {"email_id": "a"}}, "SUCCESS", "", True),
        ({"status": "SUCCESS", "result": 7}, "SUCCESS", "", False),
        (
            {"status": "FAILURE", "result": {"exc_type": "EmailFailed", "exc_message": ["no such user"]}},
            "FAILURE",
            "no such user",
            True,
        ),
        ({"status": "RETRY", "result": {"exc_type": "KeyError", "exc_message": "x"}}, "RETRY", "x", False),
        ({"status": "FAILURE", "result": ValueError("pickled", 7)}, "FAILURE", "pickled, 7", False),
        ({"status": "FAILURE", "result": {"exc_message": {}}}, "FAILURE", "", False),
        ({"status": "FAILURE", "result": "x" * 2000}, "FAILURE", "x" * 1000, False),
    ],
)
def test_a_result_has_a_state_and_the_text_of_an_exception(
    meta: object, state: str, text: str, is_from_mailctl: bool
) -> None:
    """The text is shortened."""
    result = parse_result(meta)
    assert result is not None
    assert (result.state, result.text, result.is_from_mailctl) == (state, text, is_from_mailctl)


@pytest.mark.parametrize("meta", [None, [], {}, {"status": 7}, {"status": "x" * 1001}])
def test_an_entry_that_is_not_a_celery_result_is_unreadable(meta: object) -> None:
    """The operator sees that there is one."""
    result = parse_result(meta)
    assert result is not None
    assert result.state == "UNREADABLE"


def test_a_pending_task_has_no_result() -> None:
    """Celery returns this state for unknown ids as well."""
    assert parse_result({"status": "PENDING"}) is None


def test_only_a_successful_task_has_a_value() -> None:
    """A failure is not a value."""
    assert successful_value({"status": "SUCCESS", "result": [1]}) == [1]
    assert successful_value({"status": "FAILURE", "result": [1]}) is None
    assert successful_value(None) is None


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ("2026-03-01T12:00:00+00:00", NOON),
        ("2026-03-01T12:00:00", NOON),
        ("2026-03-01T13:00:00+01:00", NOON),
        (datetime(2026, 3, 1, 12), NOON),  # noqa: DTZ001
        ("noon", None),
        (7, None),
        (None, None),
    ],
)
def test_the_time_at_which_a_task_finished_is_read(stored: object, expected: datetime | None) -> None:
    """In UTC, which old versions of Celery do not say; None if it is not stored."""
    found = parse_result({"status": "SUCCESS", "result": False, "date_done": stored})
    assert found is not None
    assert (found.finished_at, found.value, found.error_type) == (expected, False, "")


def test_a_failure_has_the_class_of_its_exception() -> None:
    """And no value."""
    stored = {"exc_type": "TimeLimitExceeded", "exc_message": [1800]}
    found = parse_result({"status": "FAILURE", "result": stored})
    assert found is not None
    assert (found.error_type, found.value, found.text) == ("TimeLimitExceeded", None, "1800")
