"""Decides which users get email, from the columns that say whether they are active, disabled or deleted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from mailctl.domain.catalog import VERIFICATION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Screening(StrEnum):
    """Which users are excluded."""

    FULL = "full"  #: users who are inactive, disabled, deleted or the like
    INACTIVE_ALLOWED = "inactive allowed"  #: the same, except users who are only inactive
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """The reason why a user is excluded."""

    #: The column and what is wrong, such as "is_active is false".
    reason: str
    #: Whether the user is merely not active yet.
    is_inactive: bool = False


@dataclass(frozen=True, kw_only=True)
class ExcludedUser:
    """A user who is excluded."""

    reason: str


def screening_for(kind: str, *, include_inactive: bool) -> Screening:
    """Return which users are excluded from emails of a kind.

    Args:
        kind: the name of the kind.
        include_inactive: whether the operator has chosen to exclude nobody.
    """
    if include_inactive:
        return Screening.NONE
    # Users become active by confirming their address.
    return Screening.INACTIVE_ALLOWED if kind == VERIFICATION.name else Screening.FULL


#: Normalized names of columns that must be true for active users.
_ACTIVE = frozenset({"active", "isactive"})
_ENABLED = frozenset({"enabled", "isenabled"})
_DISABLED_WORDS = frozenset({"deleted", "disabled", "deactivated", "banned", "blocked", "suspended"})
#: Normalized names of columns that exclude a user if they are true, or a time in the past.
_DISABLED_FLAGS = _DISABLED_WORDS | {f"is{word}" for word in _DISABLED_WORDS}
_DISABLED_TIMES = frozenset(f"{word}at" for word in _DISABLED_WORDS)
_STATUS = frozenset({"status", "accountstatus", "userstatus"})
_COLUMNS = _ACTIVE | _ENABLED | _DISABLED_FLAGS | _DISABLED_TIMES | _STATUS

#: The status words of users who get email. Any other excludes a user: services have too many to list.
_GOOD_STATUSES = frozenset(
    {
        *("accepted", "activated", "active", "approved", "confirmed", "customer", "enabled"),
        *("free", "good", "live", "member", "new", "normal", "ok"),
        *("onboarded", "paid", "premium", "regular", "registered", "subscribed", "subscriber"),
        *("trial", "trialing", "valid", "validated", "verified", "vip"),
    }
)
#: The status words of users who are not active yet.
_NOT_YET_STATUSES = frozenset(
    {
        *("inactive", "notactive", "pending"),
        *("pendingactivation", "pendingconfirmation", "pendingverification"),
        *("awaitingactivation", "awaitingconfirmation", "awaitingverification"),
        *("emailunverified", "notconfirmed", "notverified"),
        *("unconfirmed", "unverified"),
    }
)
_BAD_STATUSES = _DISABLED_WORDS | {"closed"}
#: The longest status that a reason repeats, in characters.
_MAX_WORD = 32

_TRUE = frozenset({"1", "t", "true", "y", "yes", "on"})
_FALSE = frozenset({"0", "f", "false", "n", "no", "off", ""})
#: The values of BIT(1) columns of MySQL.
_BITS: Mapping[bytes, bool] = MappingProxyType({b"\x00": False, b"\x01": True})
#: Larger numbers are times in milliseconds since 1970.
_MILLISECONDS_THRESHOLD = 10**11
#: Times of PostgreSQL that Python cannot represent.
_INFINITE: Mapping[str, datetime] = MappingProxyType(
    {"infinity": datetime.max.replace(tzinfo=UTC), "-infinity": datetime.min.replace(tzinfo=UTC)}
)


def eligibility_columns(names: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of a users table that say whether a user gets email."""
    return tuple(name for name in names if _normalized(name) in _COLUMNS)


def find_exclusion(values: Mapping[str, object], screening: Screening, *, now: datetime) -> Exclusion | None:
    """Return why a user is excluded; None for a user who gets email.

    A value that is not understood excludes the user, so that nobody gets email by mistake.

    Args:
        values: the user's row by column; other columns are ignored.
        screening: which users are excluded.
        now: the current time, for columns such as `deleted_at`.
    """
    if screening is Screening.NONE:
        return None
    found = [
        reason
        for name in eligibility_columns(values)
        if (reason := _judge(name, _simplify(values[name]), now=now)) is not None
    ]
    if screening is Screening.INACTIVE_ALLOWED:
        found = [each for each in found if not each.is_inactive]
    return min(found, key=lambda each: each.is_inactive, default=None)


@lru_cache
def _normalized(name: str) -> str:
    # Without underscores, because PostgreSQL folds an unquoted isActive to isactive.
    return _letters(name)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


def _simplify(value: object) -> object:
    """Convert a value of a database driver to a simpler type."""
    if isinstance(value, bytes):
        return _BITS.get(value, value)
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return int(value)
    return value


def _judge(name: str, value: object, *, now: datetime) -> Exclusion | None:
    kind = _normalized(name)
    if kind in _ACTIVE:
        return _judge_positive(name, value, is_inactive=True)
    if kind in _ENABLED:
        return _judge_positive(name, value, is_inactive=False)
    if kind in _STATUS:
        return _judge_status(name, value)
    return _judge_disabled(name, value, now=now)


def _judge_positive(name: str, value: object, *, is_inactive: bool) -> Exclusion | None:
    """Judge a column that must be true."""
    truth = _parse_bool(value)
    if truth:
        return None
    if value is None:
        reason = f"{name} is not set"
    else:
        reason = f"{name} is false" if truth is False else _not_understood(name, value)
    return Exclusion(reason=reason, is_inactive=is_inactive and (truth is False or value is None))


def _judge_disabled(name: str, value: object, *, now: datetime) -> Exclusion | None:
    """Judge a column that must be empty, false or a future time."""
    is_number = _is_number(value) and value != 0
    is_time = is_number and _normalized(name) in _DISABLED_TIMES
    truth = None if is_time else True if is_number else _parse_bool(value)
    if value is None or truth is False:
        return None
    if truth:
        return Exclusion(reason=f"{name} is true")
    at = _parse_time(value)
    if at is None:
        return Exclusion(reason=_not_understood(name, value))
    return Exclusion(reason=f"{name} is set") if at <= now else None


def _judge_status(name: str, value: object) -> Exclusion | None:
    """Judge a column of words or flags, of which only known ones mean an active user."""
    if value is None or value == "":
        return Exclusion(reason=f"{name} is not set", is_inactive=True)
    if not isinstance(value, str) or _parse_bool(value) is not None:
        return _judge_positive(name, value, is_inactive=False)
    word = value.strip().lower()
    known = _letters(word)
    if known in _GOOD_STATUSES:
        return None
    if known in _NOT_YET_STATUSES or known in _BAD_STATUSES:
        return Exclusion(reason=f"{name} is {word}", is_inactive=known in _NOT_YET_STATUSES)
    shown = f"'{word}'" if len(word) <= _MAX_WORD and word.isprintable() else "of such text"
    return Exclusion(reason=f"{name} {shown} is not known as active")


def _parse_bool(value: object) -> bool | None:
    """Return a value as a boolean; None if it is not one."""
    if isinstance(value, bool | int | float):
        return bool(value) if value in (0, 1) else None
    word = value.strip().lower() if isinstance(value, str) else None
    return True if word in _TRUE else False if word in _FALSE else None


def _parse_time(value: object) -> datetime | None:
    """Return a value as a time, in UTC unless it has a time zone; None if it is not one."""
    try:
        if isinstance(value, str):
            word = value.strip()
            value = _INFINITE.get(word.lower()) or datetime.fromisoformat(word)
        if _is_number(value):
            seconds = float(str(value))
            return datetime.fromtimestamp(
                seconds / 1000 if seconds > _MILLISECONDS_THRESHOLD else seconds, UTC
            )
    except (ValueError, OverflowError, OSError):
        return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.min)
    if not isinstance(value, datetime):
        return None
    # Naive and aware times cannot be compared.
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _not_understood(name: str, value: object) -> str:
    return f"{name} has a value of type {type(value).__name__} that is not understood"
