"""Line charts as SVG, with the same numbers as text for readers who cannot see the lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

#: The size of the drawing in SVG units; the page scales it.
WIDTH, HEIGHT = 600, 180
#: The margins: the labels of the value axis are on the left, those of the time axis below.
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 14, 26
#: The maximum of the value axis is one of these, times a power of ten.
_ROUND_STEPS = (1, 2, 5, 10)
#: The style sheet distinguishes this many lines.
MAX_SERIES = 3


@dataclass(frozen=True, kw_only=True)
class Series:
    """The values of one line."""

    name: str
    #: One value for each time; None leaves a gap.
    values: tuple[float | None, ...]
    #: The values in words, such as their sum; "" describes their range.
    summary: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether all values are zero or missing."""
        return not any(self.values)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart of some series over the same times, of which there is at least one."""

    title: str
    #: The unit of the values, such as "per minute".
    unit: str
    times: tuple[datetime, ...]
    series: tuple[Series, ...]

    @property
    def scale_max(self) -> float:
        """The maximum of the value axis."""
        return round_scale_max(
            value for series in self.series for value in series.values if value is not None
        )

    @property
    def description(self) -> str:
        """The text alternative of the chart."""
        if all(series.is_empty for series in self.series):
            return f"{self.title}, {self._time_range}: no data."
        texts = "; ".join(f"{series.name} {series.summary or _range_text(series)}" for series in self.series)
        return f"{self.title}, {self._time_range}: {texts}."

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """The ticks of the value axis: y coordinate and label."""
        return tuple(
            (self._y(self.scale_max * share), short_number(self.scale_max * share)) for share in (0, 0.5, 1)
        )

    @property
    def time_labels(self) -> tuple[tuple[float, str, str], ...]:
        """The labels of the time axis: x coordinate, text, and SVG text anchor."""
        last = len(self.times) - 1
        positions = ((0, "start"), (last // 2, "middle"), (last, "end"))
        return tuple(
            (self._x(index), self._format_time(self.times[index]), anchor) for index, anchor in positions
        )

    def svg_path(self, series: Series) -> str:
        """Return the path data of a line, with gaps where values are missing."""
        commands, is_pen_down = [], False
        for index, value in enumerate(series.values):
            if value is not None:
                commands.append(f"{'L' if is_pen_down else 'M'}{self._x(index):g} {self._y(value):g}")
                # A value between two gaps is drawn as a dot.
                if not is_pen_down and (index + 1 == len(series.values) or series.values[index + 1] is None):
                    commands.append("h0")
            is_pen_down = value is not None
        return "".join(commands)

    @property
    def rows(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The table of the chart: each time with its values; times without values are left out."""
        table = zip(*(series.values for series in self.series), strict=True)
        return tuple(
            (
                self._format_time(time),
                tuple("" if value is None else short_number(value) for value in values),
            )
            for time, values in zip(self.times, table, strict=True)
            if any(values)
        )

    @property
    def _time_range(self) -> str:
        return f"{self._format_time(self.times[0])} to {self._format_time(self.times[-1])} UTC"

    def _format_time(self, time: datetime) -> str:
        """Return the time of day, with the date if the chart covers several days."""
        is_one_day = self.times[0].date() == self.times[-1].date()
        return format_time(time, TimeStyle.LABEL_CLOCK if is_one_day else TimeStyle.LABEL)

    def _x(self, index: int) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * index / max(1, len(self.times) - 1), 1)

    def _y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.scale_max, 1)


def round_scale_max(values: Iterable[float]) -> float:
    """Return a round number that is not below any of the values; 1 if none is above zero."""
    greatest = max(values, default=0.0)
    if greatest <= 0:
        return 1.0
    power = 1e-3
    while power * 10 < greatest:
        power *= 10
    return float(next(step * power for step in _ROUND_STEPS if step * power >= greatest * (1 - 1e-9)))


def short_number(value: float) -> str:
    """Return a number with three significant digits, or all digits if it is a whole number or 100 or more."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _range_text(series: Series) -> str:
    values = [value for value in series.values if value is not None]
    if not values:
        return "no data"
    return f"up to {short_number(max(values))}, {short_number(values[-1])} at the end"
