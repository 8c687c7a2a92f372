"""Counts over a delivery log, on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, text
from sqlalchemy.event import listen

from mailctl.delivery_log.queries.queue_stats import QueueStats
from mailctl.delivery_log.queries.stat_models import Dimension, Totals
from mailctl.delivery_log.queries.statistics import Statistics
from mailctl.delivery_log.queries.time_series import RecentSeries
from mailctl.delivery_log.storage.engine import open_engine, writing
from mailctl.delivery_log.storage.schema_version import ensure_current
from mailctl.delivery_log.storage.tables import emails, events
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.states import State
from mailctl.web.charts import Chart, Series, round_scale_max

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

#: A quarter past an hour.
NOON = datetime(2030, 5, 4, 12, 15, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def record(engine: Engine) -> Any:
    """Returns a function that records emails as they would be."""

    def record(count: int = 1, *, at: datetime = NOON, after: float | None = None, **values: Any) -> None:
        sent_at = None if after is None else at + timedelta(seconds=after)
        row = {
            "kind": "welcome",
            "state": State.SENT if after is not None else State.PENDING,
            "queue": "celery",
            "to_address": "zoe@example.com",
            "attempts": 1 if after is not None else 0,
            "created_at": at,
            "updated_at": sent_at or at,
            "due_at": at,
            "expires_at": at + timedelta(days=1),
            "sent_at": sent_at,
        }
        with writing(engine) as connection:
            first = connection.execute(text("SELECT count(*) FROM mailctl_emails")).scalar_one()
            rows = [row | values | {"id": f"email-{first + number}"} for number in range(count)]
            connection.execute(insert(emails), rows)

    return record


def shares(found: Any) -> list[tuple[str, int, float]]:
    """Return what is easy to compare."""
    return [(share.name, share.totals.recorded, round(share.share, 3)) for share in found]


class TestTotals:
    def test_rates_come_from_what_was_tried_to_the_end(self, engine: Engine, record: Any) -> None:
        """Cancelled and waiting emails say nothing of how well it works."""
        record(6, after=1)
        record(2, state=State.FAILED)
        record(1, state=State.CANCELLED)
        record(4)
        found = Statistics(engine).totals()
        assert (found.recorded, found.sent, found.failed, found.unfinished) == (13, 6, 2, 4)
        assert found.failure_rate == 0.25
        assert Totals(states={}).failure_rate is None

    def test_the_span_has_its_beginning_and_not_its_end(self, engine: Engine, record: Any) -> None:
        """So that spans that follow each other count each email once."""
        record(1, at=NOON)
        record(2, at=NOON + HOUR)
        assert Statistics(engine).totals(NOON, NOON + HOUR).recorded == 1
        assert Statistics(engine).totals(NOON + HOUR, None).recorded == 2


class TestBy:
    @pytest.fixture(autouse=True)
    def mixed(self, record: Any) -> None:
        """Ten emails of all sorts."""
        record(5, after=1)
        record(2, kind="reset", to_address="Max@Other.example", queue="fast", campaign="spring")
        refused = {"state": State.FAILED, "smtp_code": 550, "smtp_enhanced": "5.1.1"}
        record(1, **refused, error="refused at rcpt: 550 5.1.1 no zoe@example.com here")
        record(1, **refused, error="refused at rcpt: 550 5.1.1 no max@example.com here")
        record(1, state=State.EXPIRED, error="its links died", at=NOON + HOUR)

    @pytest.mark.parametrize(
        ("dimension", "expected"),
        [
            ("kind", [("welcome", 8, 0.8), ("reset", 2, 0.2)]),
            ("state", [("sent", 5, 0.5), ("failed", 2, 0.2), ("pending", 2, 0.2), ("expired", 1, 0.1)]),
            ("domain", [("example.com", 8, 0.8), ("other.example", 2, 0.2)]),
            ("queue", [("celery", 8, 0.8), ("fast", 2, 0.2)]),
            ("campaign", [("", 8, 0.8), ("spring", 2, 0.2)]),
            ("hour", [("2030-05-04T12:00Z", 9, 0.9), ("2030-05-04T13:00Z", 1, 0.1)]),
            ("error", [("550 5.1.1", 2, 0.667), ("its links died", 1, 0.333)]),
        ],
    )
    def test_groups_have_counts_and_shares(
        self, engine: Engine, dimension: str, expected: list[tuple[str, int, float]]
    ) -> None:
        """The largest come first; addresses in the text of a refusal do not make groups of their own."""
        assert shares(Statistics(engine).grouped_by(Dimension(dimension))) == expected

    def test_a_limit_leaves_shares_as_they_are(self, engine: Engine) -> None:
        """They are of all emails, not of those shown."""
        assert shares(Statistics(engine).grouped_by(Dimension.KIND, limit=1)) == [("welcome", 8, 0.8)]
        assert shares(Statistics(engine).grouped_by(Dimension.HOUR, limit=1)) == [
            ("2030-05-04T13:00Z", 1, 0.1)
        ]

    def test_each_group_knows_its_states(self, engine: Engine) -> None:
        """To tell which kind fails."""
        [welcome, _] = Statistics(engine).grouped_by(Dimension.KIND)
        assert (welcome.totals.sent, welcome.totals.failed) == (5, 3)


class TestOverTime:
    def test_spans_without_emails_are_points_too(self, engine: Engine, record: Any) -> None:
        """So that a gap is seen."""
        record(3, after=1)
        record(1, state=State.FAILED, at=NOON + 2 * HOUR)
        points = Statistics(engine).over_time(NOON, NOON + 2 * HOUR + MINUTE, HOUR)
        assert [point.at.hour for point in points] == [12, 13, 14]
        assert [(p.recorded, p.sent, p.failed) for p in points] == [(3, 3, 0), (0, 0, 0), (1, 0, 1)]


class TestLatency:
    def test_percentiles_are_exact(self, engine: Engine, record: Any) -> None:
        """The least time within which so many were accepted."""
        for seconds in range(1, 101):
            record(1, after=seconds)
        found = Statistics(engine).latency()
        assert found.count == 100
        measured = [found.p50, found.p95, found.p99, found.longest]
        assert measured == pytest.approx([50, 95, 99, 100], abs=0.001)

    def test_a_schedule_is_not_a_delay(self, engine: Engine, record: Any) -> None:
        """Also when a retry has moved the time on; and a retry is one."""
        scheduled = {"expires_at": NOON + timedelta(days=1) + HOUR, "not_before": NOON + HOUR}
        record(1, after=3600 + 2, **scheduled)
        assert Statistics(engine).latency().longest == pytest.approx(2, abs=0.001)
        record(1, after=3600 + 40, **scheduled | {"not_before": NOON + HOUR + 30 * timedelta(seconds=1)})
        assert Statistics(engine).latency().longest == pytest.approx(40, abs=0.001)
        record(1, after=90, not_before=NOON + MINUTE)
        assert Statistics(engine).latency().longest == pytest.approx(90, abs=0.001)

    def test_a_kind_of_the_service_has_its_own_lifetime(self, engine: Engine, record: Any) -> None:
        """By which its schedule is known."""
        invoice = replace(BUILT_IN_KINDS["welcome"], name="invoice", lifetime=timedelta(days=3))
        times = {"expires_at": NOON + timedelta(days=3) + HOUR, "not_before": NOON + HOUR}
        record(1, after=3600 + 2, kind="invoice", **times)
        found = Statistics(engine, kinds={**BUILT_IN_KINDS, "invoice": invoice}).latency()
        assert found.longest == pytest.approx(2, abs=0.001)

    def test_nothing_sent_has_no_latency(self, engine: Engine, record: Any) -> None:
        """Rather than one of zero."""
        record(1)
        found = Statistics(engine).latency()
        assert (found.count, found.p50, found.longest) == (0, None, None)


class TestQueues:
    def test_what_is_scheduled_or_held_does_not_wait(self, engine: Engine, record: Any) -> None:
        """It is counted, and has no age; emails of a campaign wait like others."""
        record(1, state=State.QUEUED, at=NOON - MINUTE / 2)
        record(1, at=NOON - MINUTE)
        record(3, not_before=NOON + HOUR, at=NOON - HOUR)
        record(1, state=State.HELD, at=NOON - HOUR)
        record(4, queue="bulk", campaign="spring", at=NOON - HOUR)
        record(1, after=1)
        depths = QueueStats(engine, clock=lambda: NOON).depths()
        assert (depths["bulk"].depth, depths["bulk"].waiting_since) == (4, NOON - HOUR)
        celery = depths["celery"]
        assert (celery.depth, celery.scheduled) == (2, 3)
        assert celery.states == {State.QUEUED: 1, State.PENDING: 4, State.HELD: 1}
        assert celery.waiting_since == NOON - MINUTE

    def test_a_retry_has_waited_from_the_beginning(self, engine: Engine, record: Any) -> None:
        """Its next time says nothing of it; that of a schedule which has come does."""
        record(1, state=State.DEFERRED, attempts=2, error="451", at=NOON - HOUR, not_before=NOON + MINUTE)
        stats = QueueStats(engine, clock=lambda: NOON)
        assert stats.depths()["celery"].waiting_since == NOON - HOUR
        record(1, queue="later", at=NOON - HOUR, not_before=NOON - MINUTE)
        assert stats.depths()["later"].waiting_since == NOON - MINUTE


class TestSpeed:
    def test_a_span_of_time_is_found_by_an_index(self, tmp_path: Path) -> None:
        """Whatever is asked of it, SQLite never reads a table or an index from end to end."""
        url = f"sqlite:///{tmp_path / 'log.db'}"
        engine = open_engine(parse_url(url, setting="test"), setting="test")
        ensure_current(engine)
        plans: list[str] = []

        def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if statement.startswith("SELECT"):
                asked = connection.connection.cursor()
                asked.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                plans.extend(row[3] for row in asked.fetchall())

        listen(engine, "before_cursor_execute", explain)
        statistics = Statistics(engine)
        statistics.totals(NOON, NOON + HOUR)
        for dimension in Dimension:
            statistics.grouped_by(dimension, NOON, NOON + HOUR)
        statistics.over_time(NOON, NOON + HOUR, MINUTE)
        statistics.latency(NOON, NOON + HOUR)
        statistics.activity(since=NOON)
        QueueStats(engine, clock=lambda: NOON).depths()
        statistics.recent_failures()
        engine.dispose()
        assert len(plans) > 10
        assert [plan for plan in plans if plan.startswith("SCAN mailctl_")] == []


class TestActivity:
    def test_what_happened_lately_is_counted_by_when_it_happened(self, engine: Engine, record: Any) -> None:
        """Also of emails that were recorded long before."""
        record(3, at=NOON)
        moments = [(-90, State.SENT), (-59, State.SENT), (-30, State.FAILED), (-1, State.SENT)]
        with writing(engine) as connection:
            for offset, state in moments:
                at = NOON + timedelta(seconds=offset)
                row = {"email_id": "email-0", "at": at, "state": state, "attempt": 1}
                connection.execute(insert(events), [row])
        found = Statistics(engine).activity(since=NOON - MINUTE)
        assert (found.recorded, found.sent, found.failed) == (3, 2, 1)
        assert found.failure_rate == pytest.approx(1 / 3)
        assert Statistics(engine).activity(since=NOON + HOUR).failure_rate is None

    def test_an_empty_log_has_none(self, engine: Engine) -> None:
        """And no error."""
        assert Statistics(engine).activity(since=NOON).entered == {}
        assert Statistics(engine).total_recorded() == 0
        assert Statistics(engine).recent_failures() == []


class TestCourse:
    def test_each_span_tells_what_happened_in_it(self, engine: Engine, record: Any) -> None:
        """By when it happened, not by when the email was recorded; an empty span is a step, too."""
        record(3, after=2)
        record(1, state=State.DEFERRED, at=NOON + 2 * MINUTE)
        with writing(engine) as connection:
            steps = [(0, State.SENT)] * 3 + [(2, State.DEFERRED), (2, State.FAILED)]
            rows = [
                {
                    "email_id": "email-0",
                    "at": NOON + minute * MINUTE,
                    "state": state,
                    "attempt": 1,
                    "text": "",
                }
                for minute, state in steps
            ]
            connection.execute(insert(events), rows)
        window = 2 * MINUTE + MINUTE / 2
        series = RecentSeries(engine, window=window, step=MINUTE, kinds=BUILT_IN_KINDS)
        found, _ = series.read(now=NOON + window)
        assert [(s.recorded, s.sent, s.deferred, s.failed, s.ended) for s in found] == [
            (3, 3, 0, 0, 3),
            (0, 0, 0, 0, 0),
            (1, 0, 1, 1, 1),
        ]
        assert [s.p99 and round(s.p99) for s in found] == [2, None, None]


def test_charts_are_told_in_words() -> None:
    """A scale ends at a round number, gaps stay gaps, and who sees no line hears its numbers."""
    times = tuple(NOON + number * MINUTE for number in range(4))
    chart = Chart(
        title="Emails", unit="", times=times, series=(Series(name="sent", values=(None, 7.0, None, 30.0)),)
    )
    assert (chart.scale_max, round_scale_max([0.03]), round_scale_max([])) == (50, 0.05, 1)
    assert chart.description == "Emails, 12:15 to 12:18 UTC: sent up to 30, 30 at the end."
    assert chart.svg_path(chart.series[0]).count("M") == 2
    assert chart.rows == (("12:16", ("7",)), ("12:18", ("30",)))
