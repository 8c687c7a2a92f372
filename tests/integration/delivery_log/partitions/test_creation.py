"""Partitions are created before their days come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.delivery_log.storage.partitions.creation import create_missing
from mailctl.domain.email_ids import day_of, new_email_id
from mailctl.domain.states import State
from tests.integration.delivery_log.partitions.contents import DAY, NOW, contents, layout_of, places

if TYPE_CHECKING:
    from tests.integration.delivery_log.conftest import Log


class TestKeepingUp:
    """Partitions are made before their days, and no email fails for want of one."""

    def test_those_of_the_next_days_are_made(self, parted: Log) -> None:
        """Once; the days of a long pause get none."""
        before = layout_of(parted.engine)
        assert create_missing(parted.engine, now=NOW) == 0
        assert create_missing(parted.engine, now=NOW + 3 * DAY) == 3
        assert create_missing(parted.engine, now=NOW + 100 * DAY) == 3 * 3
        assert create_missing(parted.engine, now=NOW + 100 * DAY) == 0
        after = layout_of(parted.engine)
        assert before is not None
        assert after is not None
        assert [each.end - each.first for each in after.ranges] == [3] * (len(before.ranges) + 4)
        assert after.has_day(day_of(NOW + 100 * DAY))
        assert not after.has_day(day_of(NOW + 50 * DAY))

    def test_an_email_without_a_partition_is_recorded_and_moved_later(self, parted: Log) -> None:
        """Into its own as soon as that is made; statistics count it once."""
        late = NOW + 40 * DAY
        parted.clock.now = late
        ids = [parted.add() for _ in range(3)]
        assert places(parted.engine)["mailctl_emails_other"] == 3
        before = contents(parted.engine)
        assert create_missing(parted.engine, now=late, max_moved=2) == 2 * 3
        assert places(parted.engine)["mailctl_emails_other"] == 3
        assert create_missing(parted.engine, now=late) == 3
        assert "mailctl_emails_other" not in places(parted.engine)
        assert "mailctl_events_other" not in places(parted.engine, "mailctl_events")
        assert contents(parted.engine) == before
        assert [parted.state(each) for each in ids] == [State.PENDING] * 3

    def test_an_id_is_unique_in_all_partitions(self, parted: Log) -> None:
        """An email that is recorded twice is one, whatever partition it is in."""
        for email_id in (new_email_id(NOW), new_email_id(NOW + 99 * DAY), "celery"):
            [draft] = parted.drafts()
            draft = type(draft)(**{**vars(draft), "id": email_id})
            parted.outbox.record_from_message([draft])
            parted.outbox.record_from_message([draft])
            assert len(parted.history.find(email_id)) == 1
            assert len(parted.history.events(email_id)) == 1
