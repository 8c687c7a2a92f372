"""The figures of the benchmarks: judged by the rounds of both sides, and comparable afterwards."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from tests.benchmarks.__main__ import _as_row
from tests.benchmarks.bench import at_least, at_most, skipped
from tests.benchmarks.compare import compare, read_figures
from tests.benchmarks.versions import _ROW


def test_a_bar_is_judged_by_the_median_of_pairs() -> None:
    """The machine was slow for both sides of the second pair, which says nothing about either."""
    figure = at_least("x", [100.0, 10.0, 300.0], [50.0, 5.0, 100.0], 2.0)
    assert (figure.ours, figure.other, figure.ratio, figure.is_met) == ("100", "50", 2.0, True)
    assert figure.spread == (2.0, 3.0)


def test_a_side_may_be_one_number() -> None:
    """Such as the bar itself; one round has no spread."""
    assert at_most("x", [0.1, 0.3, 0.2], 0.2, 1.0).spread == (0.5, pytest.approx(1.5))
    assert at_most("x", 0.1, 0.2, 1.0).spread is None


def test_versions_read_the_rows() -> None:
    """Also of older checkouts, whose rows end with the bar."""
    row = _ROW.match(_as_row(at_least("single emails, 100 ms, /s (other: the bar)", [1.0, 2.0], 1, 2)))
    assert row is not None
    assert (row["name"].strip(), row["bar"]) == ("single emails, 100 ms, /s (other: the bar)", ">=")


def lines(*figures: object) -> str:
    """Return the output of a run with `--json`."""
    return "\n".join(json.dumps(asdict(each)) for each in figures)  # type: ignore[call-overload]


@pytest.mark.parametrize(("now", "verdict"), [(2.5, "within the rounds"), (1.0, "WORSE"), (9.0, "better")])
def test_two_runs_are_compared_by_the_rounds_of_the_older_one(now: float, verdict: str) -> None:
    """What its rounds differ by is no change."""
    old = read_figures(lines(at_least("x", [2.0, 3.0], 1, 2), at_least("gone", 1, 1, 1)))
    new = read_figures(lines(at_least("x", now, 1, 2), skipped("y", "the extra")))
    [changed, gone] = compare(old, new)
    assert changed.endswith(verdict)
    assert gone.endswith("only in the older file")
