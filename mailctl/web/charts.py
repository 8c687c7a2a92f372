"""Charts as plain SVG: lines told apart by their dashes and their names, and every number in words beside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

#: Of the drawing, in its own units; it is shown as wide as there is room.
WIDTH, HEIGHT = 600, 180
#: Left of it stand the numbers of the scale, below it the times.
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 14, 26
#: Values at which a scale may end, times a power of ten.
_ROUND_STEPS = (1, 2, 5, 10)
#: As many kinds of line as the style sheet has.
MAX_SERIES = 3


@dataclass(frozen=True, kw_only=True)
class Series:
    """One row of values over time."""

    name: str
    #: Gaps are None.
    values: tuple[float | None, ...]
    #: What is told of it beside its name, such as its sum.
    summary: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        return not any(self.values)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines over the same times."""

    title: str
    #: Of the values, such as "a minute".
    unit: str
    times: tuple[datetime, ...]
    series: tuple[Series, ...]

    @property
    def scale_max(self) -> float:
        """The value at which the scale ends."""
        return round_scale_max(value for line in self.series for value in line.values if value is not None)

    @property
    def description(self) -> str:
        """What somebody hears who does not see it."""
        if all(line.is_empty for line in self.series):
            return f"{self.title}, {self._span}: nothing."
        told = "; ".join(f"{line.name} {line.summary or _range_text(line)}" for line in self.series)
        return f"{self.title}, {self._span}: {told}."

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """The lines of the scale: their height in the drawing, and their value."""
        return tuple(
            (self._y(self.scale_max * share), short_number(self.scale_max * share)) for share in (0, 0.5, 1)
        )

    @property
    def time_labels(self) -> tuple[tuple[float, str, str], ...]:
        """The times below it: their place in the drawing, their words, and how they are set."""
        last = len(self.times) - 1
        places = ((0, "start"), (last // 2, "middle"), (last, "end"))
        return tuple((self._x(at), self._clock(self.times[at]), anchor) for at, anchor in places)

    def svg_path(self, line: Series) -> str:
        """Return what to draw of a line: a path with a gap where there is no value."""
        drawn, is_down = [], False
        for number, value in enumerate(line.values):
            if value is not None:
                drawn.append(f"{'L' if is_down else 'M'}{self._x(number):g} {self._y(value):g}")
                # A value between two gaps is a dot.
                if not is_down and (number + 1 == len(line.values) or line.values[number + 1] is None):
                    drawn.append("h0")
            is_down = value is not None
        return "".join(drawn)

    @property
    def rows(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Each time with its values, in words; times without any are left out."""
        table = zip(*(line.values for line in self.series), strict=True)
        return tuple(
            (self._clock(at), tuple("" if value is None else short_number(value) for value in values))
            for at, values in zip(self.times, table, strict=True)
            if any(values)
        )

    @property
    def _span(self) -> str:
        return f"{self._clock(self.times[0])} to {self._clock(self.times[-1])} UTC"

    def _clock(self, at: datetime) -> str:
        """Return a time; with its day where the times are of more than one."""
        is_one_day = self.times[0].date() == self.times[-1].date()
        return format_time(at, TimeStyle.LABEL_CLOCK if is_one_day else TimeStyle.LABEL)

    def _x(self, number: int) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * number / max(1, len(self.times) - 1), 1)

    def _y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.scale_max, 1)


def round_scale_max(values: Iterable[float]) -> float:
    """Return a round number that no value is above; 1 where there is nothing."""
    greatest = max(values, default=0.0)
    if greatest <= 0:
        return 1.0
    power = 1e-3
    while power * 10 < greatest:
        power *= 10
    return float(next(step * power for step in _ROUND_STEPS if step * power >= greatest * (1 - 1e-9)))


def short_number(value: float) -> str:
    """Return a number as short as it can be read."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _range_text(line: Series) -> str:
    values = [value for value in line.values if value is not None]
    return (
        f"up to {short_number(max(values))}, {short_number(values[-1])} at the end" if values else "nothing"
    )
