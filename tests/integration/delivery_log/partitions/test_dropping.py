"""Partitions are dropped as a whole when all in them is old."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.delivery_log.queries.statistics import Statistics
from mailctl.delivery_log.retention import Retention
from mailctl.delivery_log.rollup import Rollup
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.partitions.conversion import Conversion
from mailctl.delivery_log.storage.tables import emails, feedback
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.states import State
from tests.integration.delivery_log.partitions.contents import (
    DAY,
    KEPT,
    NOW,
    contents,
    fill,
    places,
    roll_up,
    row,
)

if TYPE_CHECKING:
    from tests.integration.delivery_log.conftest import Log


class TestPruning:
    """Old partitions are dropped as a whole."""

    def test_a_partition_is_dropped_when_all_in_it_is_old(self, parted: Log) -> None:
        """With its events and feedback; what is younger, and what has no day, is as it was."""
        retention, before = Retention(parted.engine), NOW - 10 * DAY
        with writing(parted.engine) as connection:
            connection.execute(insert(emails), [row(NOW - 15 * DAY, id="celery"), row(NOW, id="young")])
        counted = retention.count(contents_before=before, emails_before=before)
        done = list(retention.prune(contents_before=before, emails_before=before))
        assert done == [40] * 6 + [1]
        assert counted.emails == sum(done)
        left, left_events = contents(parted.engine)
        assert {each.created_at for each in left} == {NOW - day * DAY for day in KEPT}
        assert len(left) == 5 * 40 + 1
        assert len(left_events) == 5 * 40
        with reading(parted.engine) as connection:
            assert len(connection.execute(select(feedback)).all()) == 5 * 40
        assert len(places(parted.engine)) == 5 + 1

    def test_an_unfinished_email_keeps_its_partition(self, parted: Log) -> None:
        """The others of it are deleted one by one, a week later."""
        held, late = fill(parted.engine, days=[30, 15], number=1, state=State.HELD)
        retention, before = Retention(parted.engine), NOW - 10 * DAY
        counted = retention.count(contents_before=before, emails_before=before)
        assert sum(retention.prune(contents_before=before, emails_before=before)) == counted.emails
        assert [parted.state(each) for each in (held, late)] == [State.HELD, State.HELD]
        kept = Counter((NOW - each.created_at).days for each in contents(parted.engine)[0])
        assert kept == {**dict.fromkeys(KEPT, 40), 15: 41, 30: 1}

    def test_nothing_is_dropped_that_ends_late(self, parted: Log) -> None:
        """A bounce that came late has changed the email; its retention begins then."""
        with writing(parted.engine) as connection:
            first = select(emails.c.seq).order_by(emails.c.created_at).limit(1).scalar_subquery()
            connection.execute(emails.update().where(emails.c.seq == first).values(updated_at=NOW))
        before = NOW - 25 * DAY
        list(Retention(parted.engine).prune(contents_before=before, emails_before=before))
        assert min(each.created_at for each in contents(parted.engine)[0]) == NOW - 30 * DAY

    def test_nothing_is_dropped_while_the_log_is_converted(self, parted: Log) -> None:
        """The copy would have the emails again; afterwards they are deleted."""
        conversion = Conversion(parted.engine, ranges=()).run()
        next(conversion)
        retention, before = Retention(parted.engine), NOW - 10 * DAY
        list(retention.prune(contents_before=before, emails_before=before))
        for _ in conversion:
            pass
        list(retention.prune(contents_before=before, emails_before=before))
        ages = {(NOW - each.created_at).days for each in contents(parted.engine)[0]}
        assert ages == {0, 3, 6, 9}

    def test_statistics_do_not_count_what_was_dropped(self, parted: Log) -> None:
        """The periods that had counted the emails are counted again."""
        rollup = Rollup(parted.engine, kinds=BUILT_IN_KINDS)
        roll_up(rollup)
        statistics = Statistics(parted.engine)
        assert statistics.totals(None, None).recorded == 11 * 40
        before = NOW - 10 * DAY
        list(Retention(parted.engine).prune(contents_before=before, emails_before=before))
        assert statistics.totals(None, None).recorded == 5 * 40
        roll_up(rollup)
        assert statistics.totals(None, None).recorded == 5 * 40
        [group] = statistics.grouped_by(Dimension.KIND, None, None, 9)
        assert group.totals.recorded == 5 * 40
