"""Which users may be mailed: what the columns of their table say about being active, disabled or deleted."""

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
    """Which users are left out."""

    FULL = "full"  #: those who are inactive, disabled, deleted or the like
    INACTIVE_ALLOWED = "inactive allowed"  #: the same, but not for being inactive alone
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """Why a user is not to be mailed."""

    #: Such as "is_active is false".
    reason: str
    #: Whether the user is only not active yet.
    is_inactive: bool = False


@dataclass(frozen=True, kw_only=True)
class ExcludedUser:
    """A user who is not to be mailed."""

    reason: str


def screening_for(kind: str, *, include_inactive: bool) -> Screening:
    """Return which users are left out of emails of a kind.

    Args:
        kind: its name.
        include_inactive: an operator says that nobody is.
    """
    if include_inactive:
        return Screening.NONE
    # Confirming the address is how users become active.
    return Screening.INACTIVE_ALLOWED if kind == VERIFICATION.name else Screening.FULL


#: Names of columns, as `_normalized` gives them. A user is active only where one of these is true.
_ACTIVE = frozenset({"active", "isactive"})
_ENABLED = frozenset({"enabled", "isenabled"})
_DISABLED_WORDS = frozenset({"deleted", "disabled", "deactivated", "banned", "blocked", "suspended"})
#: A user is out where one of these is true, or a time that has come.
_DISABLED_FLAGS = _DISABLED_WORDS | {f"is{word}" for word in _DISABLED_WORDS}
_DISABLED_TIMES = frozenset(f"{word}at" for word in _DISABLED_WORDS)
_STATUS = frozenset({"status", "accountstatus", "userstatus"})
_COLUMNS = _ACTIVE | _ENABLED | _DISABLED_FLAGS | _DISABLED_TIMES | _STATUS

#: Words of a status that say that a user may be mailed. Any other counts against it: services have too many.
_GOOD_STATUSES = frozenset(
    {
        *("accepted", "activated", "active", "approved", "confirmed", "customer", "enabled"),
        *("free", "good", "live", "member", "new", "normal", "ok"),
        *("onboarded", "paid", "premium", "regular", "registered", "subscribed", "subscriber"),
        *("trial", "trialing", "valid", "validated", "verified", "vip"),
    }
)
#: Words of a status that say that a user is only not active yet.
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
#: A status of more characters is not repeated in a reason.
_MAX_WORD = 32

_TRUE = frozenset({"1", "t", "true", "y", "yes", "on"})
_FALSE = frozenset({"0", "f", "false", "n", "no", "off", ""})
#: What drivers give for BIT(1) of MySQL.
_BITS: Mapping[bytes, bool] = MappingProxyType({b"\x00": False, b"\x01": True})
#: Numbers above this are times in milliseconds since 1970.
_MILLISECONDS_THRESHOLD = 10**11
#: Times of PostgreSQL that Python has no value for.
_INFINITE: Mapping[str, datetime] = MappingProxyType(
    {"infinity": datetime.max.replace(tzinfo=UTC), "-infinity": datetime.min.replace(tzinfo=UTC)}
)


def eligibility_columns(names: Iterable[str]) -> tuple[str, ...]:
    """Return those columns of a users table that say whether a user may be mailed."""
    return tuple(name for name in names if _normalized(name) in _COLUMNS)


def find_exclusion(values: Mapping[str, object], screening: Screening, *, now: datetime) -> Exclusion | None:
    """Return why a user is left out; None for one who may be mailed.

    What cannot be understood speaks against mailing the user: nobody is mailed by mistake.

    Args:
        values: the user's row, by column; columns that say nothing about it are passed over.
        screening: who is left out.
        now: times that lie ahead have not come.
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
    # Also without underscores: PostgreSQL folds an unquoted isActive to isactive.
    return _letters(name)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


def _simplify(value: object) -> object:
    """Return a value of a driver's in one of the few types that are judged."""
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
    """Judge a column that must be empty or false, or a time ahead."""
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
    """Judge a column of words, or of flags: only what is known as active speaks for mailing."""
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
    """Return what a value says as a flag; None if it is none."""
    if isinstance(value, bool | int | float):
        return bool(value) if value in (0, 1) else None
    word = value.strip().lower() if isinstance(value, str) else None
    return True if word in _TRUE else False if word in _FALSE else None


def _parse_time(value: object) -> datetime | None:
    """Return what a value says as a time, UTC where it has no zone; None if it is none."""
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
    # Times with and without a zone compare only where both have one.
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _not_understood(name: str, value: object) -> str:
    return f"{name} is of type {type(value).__name__}, and not understood"
