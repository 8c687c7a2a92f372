"""The ids that mailctl gives to emails: UUIDs that begin with the day on which they were made.

A log on PostgreSQL that is partitioned by time finds the partition of an email by its id.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

#: The number of hexadecimal digits of the day, which suffice until the year 2149.
DAY_DIGITS = 4
_SECONDS_A_DAY = 86_400
#: The place of the version in a UUID, and the version for layouts of one's own (RFC 9562).
_VERSION_PLACE = 14
_OWN_VERSION = "8"


def day_of(moment: datetime) -> int:
    """Return the number of days, in UTC, from 1970-01-01 to a time."""
    return int(moment.timestamp() // _SECONDS_A_DAY)


def day_digits(day: int) -> str:
    """Return how the ids of a day begin; ids of later days are greater."""
    return f"{day:0{DAY_DIGITS}x}"


def new_email_id(now: datetime) -> str:
    """Return a new id, random but for its day."""
    return _dated(str(uuid.uuid4()), day_digits(day_of(now)))


def following_email_id(first_id: str, number: int) -> str:
    """Return the id of a further email of a call, which follows from the id of the first.

    Args:
        first_id: of any form. If it begins with a day, the other id begins with the same.
        number: of the further email, from 1.
    """
    derived = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{first_id}/{number}"))
    return _dated(derived, first_id[:DAY_DIGITS]) if _has_own_version(first_id) else derived


def _dated(random_id: str, digits: str) -> str:
    rest = random_id[DAY_DIGITS:_VERSION_PLACE], random_id[_VERSION_PLACE + 1 :]
    return digits + _OWN_VERSION.join(rest)


def _has_own_version(email_id: str) -> bool:
    try:
        return str(uuid.UUID(email_id)) == email_id and email_id[_VERSION_PLACE] == _OWN_VERSION
    except ValueError:
        return False
