"""Ids of emails begin with the day on which they were made."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from mailctl.domain.email_ids import day_digits, day_of, following_email_id, new_email_id
from tests.emails import NOW


def test_an_id_is_a_uuid_of_ones_own_layout() -> None:
    """Programs that store it as a UUID still can."""
    found = uuid.UUID(new_email_id(NOW))
    assert (found.version, found.variant) == (8, uuid.RFC_4122)


def test_an_id_begins_with_its_day() -> None:
    """The day is that in UTC, whatever the zone of the time."""
    assert new_email_id(NOW).startswith(day_digits(day_of(NOW)))
    assert day_of(datetime(1970, 1, 2, tzinfo=UTC)) == 1
    assert day_of(datetime.fromisoformat("1970-01-02T01:00+02:00")) == 0


def test_ids_of_later_days_are_greater() -> None:
    """As text, in the order of bytes: so partitions are ranges of ids."""
    days = [NOW + timedelta(days=number) for number in (0, 1, 20, 300, 4000, 40_000)]
    ids = [new_email_id(day) for day in days]
    assert ids == sorted(ids)
    assert len({len(one) for one in ids}) == 1


def test_ids_of_one_day_differ() -> None:
    """The rest is random."""
    assert len({new_email_id(NOW) for _ in range(1000)}) == 1000


def test_a_further_id_follows_from_the_first() -> None:
    """A repeated call gives the same ids, and they begin with the same day."""
    first = new_email_id(NOW)
    second, third = (following_email_id(first, number) for number in (1, 2))
    assert len({first, second, third}) == 3
    assert second == following_email_id(first, 1)
    assert {second[:4], third[:4]} == {first[:4]}
    assert uuid.UUID(second).version == 8


@pytest.mark.parametrize("first", ["a", "task-1", "5132c17b-9e82-4e3a-9aee-53ab8b1b9a0d", "5130-" * 31])
def test_ids_of_other_programs_have_no_day(first: str) -> None:
    """What follows from them is as it always was: a message may be delivered again after an upgrade."""
    assert following_email_id(first, 1) == str(uuid.uuid5(uuid.NAMESPACE_OID, f"{first}/1"))
