"""Parses and formats times, durations, rates and shares."""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:\d+[smhd])+")
_RATE = re.compile(r"(\d{1,7})/([smh])")
_CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d)?")
_DAYS_AGO = {"today": 0, "yesterday": 1}
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)(%?)")
#: The longest text of a time or a duration, in characters.
_MAX_CHARACTERS = 64
#: How far ahead an email can be scheduled.
MAX_AHEAD = timedelta(days=366)


#: Whether times are shown in the time zone of this host.
_is_local: ContextVar[bool] = ContextVar("mailctl_local_times", default=False)


class TimeStyle(StrEnum):
    """The formats in which times are shown, in UTC unless local times are shown."""

    SECOND = "%Y-%m-%d %H:%M:%SZ"  #: in tables and on pages
    MINUTE = "%Y-%m-%d %H:%MZ"
    DATE = "%Y-%m-%d"
    DAY_SECOND = "%m-%d %H:%M:%SZ"  #: in narrow columns
    CLOCK = "%H:%M:%SZ"
    SENTENCE = "%Y-%m-%d %H:%M:%S UTC"  #: within a sentence
    SENTENCE_CLOCK = "%H:%M UTC"
    LABEL = "%m-%d %H:%M"  #: on the axis of a chart
    LABEL_CLOCK = "%H:%M"
    FILE_NAME = "%Y%m%dT%H%M%SZ"


def parse_duration(text: str, *, field: str) -> timedelta:
    """Return a duration such as 90s, 10m, 2h30m or 1d.

    Args:
        text: the duration.
        field: the name of the value for error messages.

    Raises:
        InvalidInput: the text is not a duration, or longer than a year.
    """
    if not _is_duration(text):
        raise InvalidInput(
            field, f"{_shown(text)} is not a duration.", fix="Use a duration such as 90s or 2h30m."
        )
    seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", text))
    if seconds > MAX_AHEAD.total_seconds():
        raise InvalidInput(field, f"{text!r} is longer than a year.")
    return timedelta(seconds=seconds)


def parse_rate(text: str, *, field: str) -> float:
    """Return a rate such as 50/s, 3000/m or 10000/h, as a number per second.

    Args:
        text: the rate.
        field: the name of the value for error messages.

    Raises:
        InvalidInput: the text is not a rate.
    """
    found = _RATE.fullmatch(text)
    if not found or not int(found[1]):
        raise InvalidInput(field, f"{_shown(text)} is not a rate.", fix="Use a rate such as 50/s or 3000/m.")
    return int(found[1]) / _UNITS[found[2]]


def parse_share(text: str, *, field: str) -> float:
    """Return a share such as 5% or 0.05, as a number from 0 to 1.

    Args:
        text: the share.
        field: the name of the value for error messages.

    Raises:
        InvalidInput: the text is not a share.
    """
    found = _SHARE.fullmatch(text)
    share = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not 0 <= share <= 1:
        raise InvalidInput(field, f"{_shown(text)} is not a share.", fix="Use a share such as 5% or 0.05.")
    return share


def parse_future_time(text: str, *, field: str, now: datetime) -> datetime:
    """Return a time in the future.

    Args:
        text: the time in ISO 8601; without a time zone, it is local time.
        field: the name of the value for error messages.
        now: the current time.

    Raises:
        InvalidInput: the text is not a time, or the time has passed or is more than a year ahead.
    """
    try:
        moment = _parse_time(text)
    except (ValueError, OverflowError, OSError):
        example = _example_time(now + timedelta(days=1))
        raise InvalidInput(
            field,
            f"{_shown(text)} is not a time.",
            fix=f"Use a time such as {example} or {example}Z.",
        ) from None
    if moment < now:
        raise InvalidInput(field, f"{text!r} has passed.", fix="Give a time in the future.")
    if moment - now > MAX_AHEAD:
        raise InvalidInput(field, f"{text!r} is more than a year ahead.")
    return moment


def parse_past_time(text: str, *, field: str, now: datetime) -> datetime:
    """Return a time in the past.

    Args:
        text: a duration before `now`, such as 24h; `today` or `yesterday`, for the beginning of that day; a
            time of day, such as 10:02, for the last time that it was so; or a time in ISO 8601. Times without
            a time zone are local.
        field: the name of the value for error messages.
        now: the current time.

    Raises:
        InvalidInput: the text is neither a duration nor a time.
    """
    if _is_duration(text):
        return now - parse_duration(text, field=field)
    try:
        return _parse_day(text, now=now) or _parse_time(text)
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(
            field,
            f"{_shown(text)} is not a time.",
            fix=f"Give one like 24h or {_example_time(now - timedelta(days=1))}Z.",
        ) from None


def format_time(at: datetime, style: TimeStyle = TimeStyle.SECOND) -> str:
    """Return a time in a style, such as `2026-03-01 12:00:00Z`, or `2026-03-01 13:00:00 CET` if local."""
    if not _is_local.get() or style is TimeStyle.FILE_NAME or not (here := _to_local(at)).utcoffset():
        return at.astimezone(UTC).strftime(style)
    return here.strftime(style.removesuffix("Z").removesuffix(" UTC")) + _zone_of(here, style)


def _to_local(at: datetime) -> datetime:
    """Return a time in the time zone of this host, or unchanged if it would be out of range there."""
    try:
        return at.astimezone()
    except OverflowError:
        return at


def format_time_heading(heading: str) -> str:
    """Return the heading of a column of times, which says that they are local if they are."""
    return f"{heading} (local)" if _is_local.get() and datetime.now().astimezone().utcoffset() else heading


@contextmanager
def showing_times(*, is_local: bool) -> Iterator[None]:
    """Show times in the time zone of this host during the block, or else in UTC."""
    token = _is_local.set(is_local)
    try:
        yield
    finally:
        _is_local.reset(token)


def _zone_of(here: datetime, style: TimeStyle) -> str:
    """Return what follows a local time in styles that name the time zone."""
    return f" {here.tzname()}" if style.endswith(("Z", " UTC")) else ""


def format_optional_time(at: datetime | None) -> str:
    """Return a time to the second; "" for None."""
    return "" if at is None else format_time(at)


def format_long_time(at: datetime) -> str:
    """Return a time for the text of an email, such as `1 March 2026, 12:00 UTC`."""
    utc = at.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y, %H:%M} UTC"


def format_iso(at: datetime) -> str:
    """Return a time in ISO 8601, in UTC, such as `2026-03-01T12:00:00Z`."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def format_duration(length: timedelta) -> str:
    """Return a duration rounded to one unit, such as `5 min`; "0 s" if it is negative."""
    seconds = max(0, round(length.total_seconds()))
    if seconds < 90:
        return f"{seconds} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86400)} days"


def format_age(seconds: float | None) -> str:
    """Return a number of seconds as `format_duration` does; "" for None."""
    return "" if seconds is None else format_duration(timedelta(seconds=seconds))


def seconds_since(at: datetime | None, *, now: datetime) -> float | None:
    """Return how many seconds ago a time was, at least 0, with three decimal places; None for None."""
    return None if at is None else round(max(0.0, (now - at).total_seconds()), 3)


def format_elapsed(seconds: float | None) -> str:
    """Return an elapsed time in two units, such as `12 ms`, `3.4 s` or `2h05m`; "-" for None."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 48 else f"{hours // 24}d{hours % 24:02}h"


def format_latency(seconds: float | None) -> str:
    """Return an elapsed time in one unit, such as `12 ms`, `3.46 s` or `5 min`; "-" for None."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.3g} s" if seconds < 90 else format_age(seconds)


def format_share(share: float | None) -> str:
    """Return a share as a percentage, such as `3.5%`; "-" for None."""
    return "-" if share is None else f"{share:.1%}"


def format_milliseconds(seconds: float) -> str:
    """Return an elapsed time in milliseconds, such as `1.4 ms`."""
    return f"{seconds * 1000:.1f} ms"


def format_exact_duration(length: timedelta) -> str:
    """Return a duration in its largest whole unit, such as `10 min`."""
    seconds = int(length.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def format_lifetime(length: timedelta) -> str:
    """Return a duration for the text of an email, in hours if it is whole hours, such as `2 hours`."""
    hours, rest = divmod(length, timedelta(hours=1))
    return pluralize(length // timedelta(minutes=1), "minute") if rest else pluralize(hours, "hour")


def format_remaining(length: timedelta) -> str:
    """Return how long something is still valid for the text of an email, such as `1 hour`.

    It is rounded to minutes, from two hours on down to whole hours, and at least a minute.
    """
    minutes = max(1, round(length / timedelta(minutes=1)))
    return format_lifetime(timedelta(minutes=minutes - minutes % 60 if minutes > 120 else minutes))


def pluralize(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_rate(rate: float) -> str:
    """Return a rate with two significant digits, such as `0.25`, or `12`."""
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"


def format_campaign_rate(rate: float | None) -> str:
    """Return the rate of a campaign as it can be given, such as `50/s` or `90/m`; "no limit" for None.

    Args:
        rate: emails a second.
    """
    if rate is None:
        return "no limit"
    for unit, seconds in (("s", 1), ("m", 60), ("h", 3600)):
        if abs(rate * seconds - round(rate * seconds)) < 1e-6:  # as `parse_rate` divides
            return f"{round(rate * seconds)}/{unit}"
    return f"{rate:.2g}/s"


def _example_time(day: datetime) -> str:
    """Return an example of a time on a day, without a time zone."""
    return day.strftime("%Y-%m-%dT09:00")


def _is_duration(text: str) -> bool:
    return len(text) <= _MAX_CHARACTERS and _DURATION.fullmatch(text) is not None


def _parse_day(text: str, *, now: datetime) -> datetime | None:
    """Return the beginning of today or yesterday, or the last time of a time of day; None for other texts."""
    here = now.astimezone().replace(tzinfo=None)
    if text in _DAYS_AGO:
        day = here.date() - timedelta(days=_DAYS_AGO[text])
        return datetime.combine(day, time.min).astimezone(UTC)
    if not _CLOCK.fullmatch(text):
        return None
    hour, minute, second = map(int, f"{text}:0".split(":")[:3])
    moment = datetime.combine(here.date(), time(hour, minute, second))
    return (moment if moment <= here else moment - timedelta(days=1)).astimezone(UTC)


def _parse_time(text: str) -> datetime:
    if len(text) > _MAX_CHARACTERS:
        raise ValueError
    return datetime.fromisoformat(text).astimezone(UTC)


def _shown(text: str) -> str:
    return repr(text) if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]!r}…"
