"""Charts as SVG and as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailctl.web.charts import Chart, Series, round_scale_max, short_number

NOON = datetime(2030, 5, 4, 12, 15, tzinfo=UTC)


def chart(*values: float | None, step: timedelta = timedelta(minutes=1), summary: str = "") -> Chart:
    """Return a chart of one series."""
    times = tuple(NOON + number * step for number in range(len(values)))
    series = Series(name="sent", values=values, summary=summary)
    return Chart(title="Emails", unit="per minute", times=times, series=(series,))


@pytest.mark.parametrize(
    ("greatest", "maximum"), [(0, 1), (0.03, 0.05), (1, 1), (3, 5), (7, 10), (10, 10), (11, 20), (837, 1000)]
)
def test_a_scale_ends_at_a_round_number(greatest: float, maximum: float) -> None:
    """It is not below the greatest value."""
    assert round_scale_max([0, greatest]) == pytest.approx(maximum)


def test_gaps_stay_gaps() -> None:
    """A value between two gaps is a dot."""
    data = chart(None, 7.0, None, 30.0, 40.0)
    path = data.svg_path(data.series[0])
    assert (path.count("M"), path.count("L"), path.count("h0")) == (2, 1, 1)
    assert data.rows == (("12:16", ("7",)), ("12:18", ("30",)), ("12:19", ("40",)))


def test_the_description_has_the_range_of_the_values() -> None:
    """A summary takes its place."""
    assert chart(30, 7).description == "Emails, 12:15 to 12:16 UTC: sent up to 30, 7 at the end."
    assert chart(30, 7, summary="37").description == "Emails, 12:15 to 12:16 UTC: sent 37."
    assert chart(0, None).description == "Emails, 12:15 to 12:16 UTC: no data."


def test_a_chart_of_several_days_names_them() -> None:
    """The time of day alone would be ambiguous."""
    assert [label for _, label, _ in chart(1, 2, 3, step=timedelta(days=1)).time_labels] == [
        "05-04 12:15",
        "05-05 12:15",
        "05-06 12:15",
    ]


def test_one_point_is_drawn() -> None:
    """At the left end of the axis."""
    assert chart(5).svg_path(chart(5).series[0]) == "M64 14h0"


def test_numbers_are_short() -> None:
    """Three digits are enough below a hundred."""
    assert [short_number(value) for value in (0.01234, 3.0, 12.345, 123456.7)] == [
        "0.0123",
        "3",
        "12.3",
        "123,457",
    ]
