"""Times, lengths of time and numbers as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from mailctl.errors import InvalidInput

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:\d+[smhd])+")
_RATE = re.compile(r"(\d{1,7})/([smh])")
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)(%?)")
#: Characters of a time, or a length of time.
_MAX_CHARACTERS = 64
#: Emails are scheduled for hours or days, not for years.
MAX_AHEAD = timedelta(days=366)


def parse_duration(text: str, *, field: str) -> timedelta:
    """Return a length of time such as 90s, 10m, 2h30m or 1d.

    Raises:
        InvalidInput: it is not one, or longer than a year.
    """
    if not _is_duration(text):
        raise InvalidInput(
            field, f"{_shown(text)} is not a length of time.", fix="Give one like 90s or 2h30m."
        )
    seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", text))
    if seconds > MAX_AHEAD.total_seconds():
        raise InvalidInput(field, f"{text!r} is longer than a year.")
    return timedelta(seconds=seconds)


def parse_rate(text: str, *, field: str) -> float:
    """Return a rate such as 50/s, 3000/m or 10000/h, in a second.

    Raises:
        InvalidInput: it is not one.
    """
    found = _RATE.fullmatch(text)
    if not found or not int(found[1]):
        raise InvalidInput(field, f"{_shown(text)} is not a rate.", fix="Give one like 50/s or 3000/m.")
    return int(found[1]) / _UNITS[found[2]]


def parse_share(text: str, *, field: str) -> float:
    """Return a share such as 5% or 0.05, from 0 to 1.

    Raises:
        InvalidInput: it is not one.
    """
    found = _SHARE.fullmatch(text)
    share = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not 0 <= share <= 1:
        raise InvalidInput(field, f"{_shown(text)} is not a share.", fix="Give one like 5% or 0.05.")
    return share


def parse_future_time(text: str, *, field: str, now: datetime) -> datetime:
    """Return a time in the future, given in ISO 8601; without a zone it is local.

    Raises:
        InvalidInput: it is not a time, has passed, or is more than a year ahead.
    """
    try:
        moment = _parse_time(text)
    except (ValueError, OverflowError, OSError):
        example = _example_time(now + timedelta(days=1))
        raise InvalidInput(
            field,
            f"{_shown(text)} is not a time.",
            fix=f"Give one like {example} or {example}Z.",
        ) from None
    if moment < now:
        raise InvalidInput(field, f"{text!r} has passed.", fix="Give a time in the future.")
    if moment - now > MAX_AHEAD:
        raise InvalidInput(field, f"{text!r} is more than a year ahead.")
    return moment


def parse_past_time(text: str, *, field: str, now: datetime) -> datetime:
    """Return a time given as a length before `now`, such as 24h, or in ISO 8601; without a zone it is local.

    Raises:
        InvalidInput: it is neither.
    """
    if _is_duration(text):
        return now - parse_duration(text, field=field)
    try:
        return _parse_time(text)
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(
            field,
            f"{_shown(text)} is not a time.",
            fix=f"Give one like 24h or {_example_time(now - timedelta(days=1))}Z.",
        ) from None


def format_duration(length: timedelta) -> str:
    """Return a length of time in the unit that suits it; "0 s" if it has passed."""
    seconds = max(0, round(length.total_seconds()))
    if seconds < 90:
        return f"{seconds} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86400)} days"


def pluralize(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it belongs there."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_rate(rate: float) -> str:
    """Return a rate as people read it."""
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"


def _example_time(day: datetime) -> str:
    """Return an example of a time, near enough to be accepted, as UTC or as local time."""
    return day.strftime("%Y-%m-%dT09:00")


def _is_duration(text: str) -> bool:
    return len(text) <= _MAX_CHARACTERS and _DURATION.fullmatch(text) is not None


def _parse_time(text: str) -> datetime:
    if len(text) > _MAX_CHARACTERS:
        raise ValueError
    return datetime.fromisoformat(text).astimezone(UTC)


def _shown(text: str) -> str:
    return repr(text) if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]!r}…"
