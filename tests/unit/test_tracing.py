"""Traces, without OpenTelemetry; `tests/integration` has them with it."""

from __future__ import annotations

import sys

import pytest

from mailctl import tracing


@pytest.fixture(autouse=True)
def without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not configured a tracer."""
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)


def test_a_span_does_nothing() -> None:
    """The block runs, and nothing is imported."""
    with tracing.span("mailctl.send", parent={"traceparent": "x"}) as span:
        span.set_attributes(attempts=1, kind=None)
        span.fail("no")
    assert "opentelemetry.trace" not in sys.modules


def test_an_exception_leaves_the_span() -> None:
    """Unchanged."""
    with pytest.raises(ZeroDivisionError), tracing.span("mailctl.send"):
        _ = 1 // 0


def test_there_is_no_trace_context() -> None:
    """And nothing to export."""
    assert tracing.inject_trace_context() == {}
    assert tracing.trace_ids(None) == {}
    tracing.flush()


@pytest.mark.parametrize("traceparent", ["x", "00-abc-def-01", f"00-{'g' * 32}-{'b' * 16}-01"])
def test_an_invalid_trace_context_has_no_ids(traceparent: str) -> None:
    """It may come from another program."""
    assert tracing.trace_ids(traceparent) == {}


def test_the_ids_of_a_stored_trace_context_are_read() -> None:
    """Without OpenTelemetry, too."""
    found = tracing.trace_ids(f"00-{'a' * 32}-{'b' * 16}-01")
    assert found == {"trace_id": "a" * 32, "span_id": "b" * 16}
