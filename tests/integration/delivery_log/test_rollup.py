"""Statistics from the rollup are those of the emails, whatever happens to them after they were counted."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, func, insert, select, update

from mailctl.delivery_log.queries.rolled_up import PERIOD, period_start
from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.delivery_log.queries.statistics import Statistics
from mailctl.delivery_log.retention import Retention
from mailctl.delivery_log.rollup import Rollup
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import emails, rollup_changes, rollup_counts, rollup_periods
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from tests.integration.delivery_log.conftest import Log

    Span = tuple[datetime | None, datetime | None]

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
#: The beginning of a period, long enough ago that all of the next three hours is rolled up.
START = period_start(datetime.now(UTC)) - 8 * HOUR
#: Seconds until all is rolled up, however slow the computer.
PATIENCE = 120
#: One email a minute, in all states, kinds, campaigns and servers.
COUNT = 180
_STATES = (State.SENT, State.SENT, State.FAILED, State.SENT, State.DEFERRED, State.CAPTURED, State.HELD)


def row(number: int, *, at: datetime | None = None) -> dict[str, Any]:
    """Return an email; each number gives another mixture."""
    state, created_at = _STATES[number % len(_STATES)], at or START + number * MINUTE
    has_ended = state in (State.SENT, State.CAPTURED)
    sent_at = created_at + timedelta(seconds=0.05 * (1 + number % 40)) if has_ended else None
    return {
        "id": f"email-{number:04}",
        "kind": ("welcome", "reset", "email")[number % 3],
        "state": state,
        "queue": ("celery", "fast")[number % 2],
        "to_address": "zoe@example.com",
        "attempts": 1,
        "created_at": created_at,
        "updated_at": sent_at or created_at,
        "due_at": created_at,
        "expires_at": created_at + timedelta(days=1),
        "sent_at": sent_at,
        "campaign": "spring" if number % 5 == 0 else None,
        "worker": "celery@web" if number % 4 else None,
        "server": "second" if number % 8 == 1 else None,
    }


@pytest.fixture
def engine(log: Log) -> Engine:
    """A log with emails of three hours, most of them rolled up."""
    with writing(log.engine) as connection:
        connection.execute(insert(emails), [row(number) for number in range(COUNT)])
    roll_up(log.engine)
    return log.engine


def roll_up(engine: Engine) -> None:
    """Do what relays do over a while."""
    rollup = Rollup(engine, kinds=BUILT_IN_KINDS)
    # On PostgreSQL, a period waits for transactions that were open when it was announced, those of other
    # tests as well.
    deadline = time.monotonic() + PATIENCE
    while rollup.advance() or has_changes(engine) or has_announced(engine):
        assert time.monotonic() < deadline, "it never ends"
        time.sleep(0.05)


def has_changes(engine: Engine) -> bool:
    with reading(engine) as connection:
        return bool(connection.execute(select(func.count()).select_from(rollup_changes)).scalar())


def has_announced(engine: Engine) -> bool:
    announced = rollup_periods.c.is_closed.is_(False)
    with reading(engine) as connection:
        return bool(connection.execute(select(func.count()).where(announced)).scalar())


def rolled_up_periods(engine: Engine) -> list[datetime]:
    closed = select(rollup_periods.c.starts_at).where(rollup_periods.c.is_closed.is_(True))
    with reading(engine) as connection:
        return sorted(connection.execute(closed).scalars())


def change(engine: Engine, *numbers: int, **values: Any) -> None:
    with writing(engine) as connection:
        ids = [f"email-{number:04}" for number in numbers]
        connection.execute(update(emails).where(emails.c.id.in_(ids)).values(**values))


def spans() -> Iterator[Span]:
    """Spans with edges that are those of periods, and that are not."""
    yield None, None
    yield START, START + 3 * HOUR
    yield START + 7 * MINUTE, START + 2 * HOUR + 13 * MINUTE
    yield START + PERIOD, None
    yield None, START + HOUR + MINUTE / 2
    yield START + 40 * MINUTE, START + 50 * MINUTE


def cells(*, in_full: bool) -> Iterator[tuple[str | None, Span, list[Dimension]]]:
    """Yield campaigns, spans and dimensions: all together, or each two of them in some cell."""
    dimensions = list(_NAMES)
    for number, span in enumerate(spans()):
        if in_full:
            yield from ((campaign, span, dimensions) for campaign in (None, "spring"))
        else:
            yield (None, "spring")[number % 2], span, dimensions[(number // 2) % 2 :: 2]


def check(engine: Engine, *, in_full: bool = False) -> None:
    """Compare statistics with what the emails tell one by one."""
    with reading(engine) as connection:
        rows = connection.execute(select(emails)).all()
    for campaign, (since, until), dimensions in cells(in_full=in_full):
        statistics = Statistics(engine, campaign=campaign)
        found = [
            each
            for each in rows
            if (since is None or each.created_at >= since)
            and (until is None or each.created_at < until)
            and campaign in (None, each.campaign)
        ]
        states = Counter(State(each.state) for each in found)
        assert statistics.totals(since, until).states == states
        for dimension in dimensions:
            groups = statistics.grouped_by(dimension, since, until, 100)
            counted = {group.name: group.totals.recorded for group in groups}
            assert counted == Counter(map(_NAMES[dimension], found))
        check_latency(statistics, found, since, until)
    for campaign in (None, "spring"):
        statistics = Statistics(engine, campaign=campaign)
        check_series(statistics, [each for each in rows if campaign in (None, each.campaign)])


def check_latency(
    statistics: Statistics, found: list[Any], since: datetime | None, until: datetime | None
) -> None:
    exact = sorted((each.sent_at - each.created_at).total_seconds() for each in found if each.sent_at)
    latency = statistics.latency(since, until)
    assert latency.count == len(exact)
    for value, share in ((latency.p50, 0.5), (latency.p95, 0.95), (latency.p99, 0.99)):
        if exact:
            rank = min(index for index in range(len(exact)) if index + 1 >= share * len(exact))
            assert value == pytest.approx(exact[rank], rel=0.051, abs=0.002)


def check_series(statistics: Statistics, rows: list[Any]) -> None:
    for bucket in (10 * MINUTE, PERIOD, 2 * PERIOD):
        since, until = START + 5 * MINUTE, START + 3 * HOUR + 20 * MINUTE
        points = statistics.over_time(since, until, bucket)
        for point in points:
            inside = [
                each
                for each in rows
                if since <= each.created_at < until and point.at <= each.created_at < point.at + bucket
            ]
            failed = sum(each.state in (State.FAILED, State.EXPIRED) for each in inside)
            assert (point.recorded, point.failed) == (len(inside), failed)


def _server(each: Any) -> str:
    asked = each.worker is not None and not each.is_own_task and each.captured_file is None
    return (each.server or "default") if asked else ""


_NAMES: dict[Dimension, Any] = {
    Dimension.KIND: lambda each: each.kind,
    Dimension.STATE: lambda each: each.state,
    Dimension.QUEUE: lambda each: each.queue,
    Dimension.CAMPAIGN: lambda each: each.campaign or "",
    Dimension.SERVER: _server,
    Dimension.HOUR: lambda each: f"{each.created_at:%Y-%m-%dT%H:00Z}",
}


def test_statistics_are_those_of_the_emails(engine: Engine) -> None:
    """Also at edges inside of a period; the counters alone are read, and not the emails."""
    assert rolled_up_periods(engine) == [START + number * PERIOD for number in range(6)]
    check(engine, in_full=True)
    with writing(engine) as connection:
        connection.execute(update(rollup_counts).values(count=rollup_counts.c.count * 2))
    assert Statistics(engine).totals(START, START + 3 * HOUR).recorded == 2 * COUNT


def test_an_email_that_changes_later_counts_once(engine: Engine) -> None:
    """Bounces come later, and deferred emails are sent: before and after the counters are corrected."""
    change(engine, 0, 1, 3, 7, state=State.BOUNCED)
    change(engine, 4, 11, state=State.SENT, sent_at=START + 4 * HOUR, server="third", worker="celery@web")
    change(engine, 3, state=State.COMPLAINED)
    assert has_changes(engine)
    check(engine)
    roll_up(engine)
    assert not has_changes(engine)
    check(engine)
    change(engine, 0, state=State.DELIVERED)
    check(engine)


def test_what_is_recorded_with_an_old_time_counts(engine: Engine) -> None:
    """Such as by a host whose clock is wrong."""
    with writing(engine) as connection:
        connection.execute(insert(emails), [row(1000 + n, at=START + 33 * MINUTE) for n in range(7)])
    change(engine, 1002, state=State.EXPIRED)
    check(engine)
    roll_up(engine)
    check(engine)


def test_deleted_emails_do_not_count(engine: Engine) -> None:
    """Their period is counted again; emails that are not finished are still there."""
    before = START + 65 * MINUTE
    change(engine, 8, state=State.BOUNCED)
    for _ in Retention(engine).prune(contents_before=before, emails_before=before):
        check(engine)
    check(engine)
    roll_up(engine)
    check(engine)
    assert rolled_up_periods(engine) == [START + number * PERIOD for number in range(6)]
    with writing(engine) as connection:
        connection.execute(delete(emails).where(emails.c.created_at < START + 2 * HOUR))
    check(engine)
    roll_up(engine)
    check(engine)
    assert rolled_up_periods(engine) == [START + number * PERIOD for number in range(4, 6)]


def test_a_change_while_others_are_corrected_is_not_lost(engine: Engine) -> None:
    """One transaction has changed an email again, and not ended yet."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    change(engine, 0, 1, state=State.BOUNCED)
    with engine.connect() as other:
        begin_change(other, "email-0000")
        rollup = Rollup(engine, kinds=BUILT_IN_KINDS)
        rollup.advance()
        check(engine)
        other.commit()
    check(engine)
    roll_up(engine)
    check(engine)


def begin_change(connection: Connection, email_id: str) -> None:
    connection.execute(update(emails).where(emails.c.id == email_id).values(state=State.COMPLAINED))


def test_a_period_waits_for_transactions_that_are_older(log: Log) -> None:
    """An email of it may be recorded by a transaction of a service that has not ended yet."""
    if log.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    with writing(log.engine) as connection:
        connection.execute(insert(emails), [row(0)])
    rollup = Rollup(log.engine, kinds=BUILT_IN_KINDS)
    with log.engine.connect() as other:
        begin_change(other, "email-0000")
        assert rollup.advance() == 1
        rollup.advance()
        rollup.advance()
        assert rolled_up_periods(log.engine) == []
        other.commit()
    roll_up(log.engine)
    assert rolled_up_periods(log.engine) == [START]
    check(log.engine)


def test_recent_emails_are_not_rolled_up(log: Log) -> None:
    """Most emails change in their first hour, which so costs nothing."""
    recent = period_start(datetime.now(UTC)) - PERIOD
    with writing(log.engine) as connection:
        connection.execute(insert(emails), [row(0, at=recent)])
    assert Rollup(log.engine, kinds=BUILT_IN_KINDS).advance() == 0
    change(log.engine, 0, state=State.BOUNCED)
    assert not has_changes(log.engine)
    assert Statistics(log.engine).totals(recent, None).bounced == 1
