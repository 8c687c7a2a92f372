"""Percentiles from bins."""

from __future__ import annotations

import pytest

from mailctl.delivery_log.queries.latency_histogram import LatencyHistogram, bin_end, bin_of


@pytest.mark.parametrize("seconds", [0.0, 0.0004, 0.001, 0.0011, 0.05, 1.0, 59.9, 86_400.0])
def test_a_latency_is_at_most_the_end_of_its_bin_and_little_less(seconds: float) -> None:
    """By 5 %, or by a millisecond."""
    end = bin_end(bin_of(seconds))
    assert seconds <= end * 1.000001
    assert end <= max(seconds * 1.05, 0.001) * 1.000001


def test_percentiles_are_a_little_too_long_at_most() -> None:
    """And never longer than the longest latency, which is exact."""
    histogram = LatencyHistogram()
    for number in range(1, 101):
        histogram.add(float(number))
    found = histogram.summarize()
    assert (found.count, found.longest) == (100, 100.0)
    assert [found.p50, found.p95, found.p99] == pytest.approx([50, 95, 99], rel=0.05)
    assert all(value is not None and value >= exact for value, exact in ((found.p50, 50), (found.p99, 99)))


def test_what_is_taken_out_does_not_count() -> None:
    """As when an email was sent later than what was counted of it."""
    histogram = LatencyHistogram()
    histogram.add(2.0, 3)
    histogram.add(0.1)
    histogram.add(2.0, -3)
    assert histogram.summarize().count == 1
    histogram.add(0.1, -1)
    assert histogram.summarize().p50 is None
