"""A delivery log with partitions: converted while it is used, found in, kept up, dropped from, and undone."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, insert, select, text

from mailctl.delivery_log.campaigns import Campaigns
from mailctl.delivery_log.claims import Claims
from mailctl.delivery_log.queries.search import EmailFilter, search
from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.delivery_log.queries.statistics import Statistics
from mailctl.delivery_log.retention import Retention
from mailctl.delivery_log.rollup import Rollup
from mailctl.delivery_log.storage.engine import open_engine, reading, writing
from mailctl.delivery_log.storage.partial_indices import add_partial_indices
from mailctl.delivery_log.storage.partitions.conversion import Conversion, Step
from mailctl.delivery_log.storage.partitions.creation import create_missing
from mailctl.delivery_log.storage.partitions.layout import PartitionLayout, read_layout
from mailctl.delivery_log.storage.partitions.planning import plan_partitions, plan_undo
from mailctl.delivery_log.storage.schema_version import HEAD, VERSION_TABLE, upgrade
from mailctl.delivery_log.storage.tables import emails, events, feedback, metadata
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.email_ids import day_of, new_email_id
from mailctl.domain.models import State
from mailctl.domain.partition_actions import PartitionAction
from mailctl.errors import ConfigurationError, Refused
from tests.integration.delivery_log.conftest import KEYRING, LEASE, Log, partition
from tests.integration.older_logs import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
#: Of the emails of a month, those whose partition has days of which something is kept for ten days: the days
#: from 12 to 9 days ago are one.
KEPT = (0, 3, 6, 9, 12)


@pytest.fixture
def plain(postgres_url: str) -> Iterator[Log]:
    """A log on PostgreSQL without partitions, at the time of the server."""
    engine = open_engine(parse_url(postgres_url, setting="X"), setting="X")
    upgrade(engine)
    log = Log(engine)
    log.clock.now = NOW
    yield log
    engine.dispose()


@pytest.fixture
def parted(plain: Log) -> Log:
    """The same with a partition for each day, from the first of a month of emails on."""
    fill(plain.engine, days=range(0, 31, 3))
    partition(plain.engine, now=NOW, days=3)
    return plain


def fill(engine: Engine, *, days: Sequence[int], number: int = 40, state: State = State.SENT) -> list[str]:
    """Record emails that ended some days ago, each with an event and with feedback; return their ids."""
    rows = [row(NOW - day * DAY, state=state) for day in days for _ in range(number)]
    ids = [each["id"] for each in rows]
    with writing(engine) as connection:
        connection.execute(insert(emails), rows)
        connection.execute(
            insert(events),
            [
                {"email_id": each["id"], "at": each["created_at"], "state": state, "attempt": 1}
                for each in rows
            ],
        )
        connection.execute(insert(feedback), [feedback_row(each["id"]) for each in rows])
    return ids


def row(at: datetime, *, state: State = State.SENT, **more: Any) -> dict[str, Any]:
    """Return an email that was recorded, and ended, at a time."""
    email = {"id": new_email_id(at), "kind": "welcome", "state": state, "queue": "celery"}
    times = dict.fromkeys(("created_at", "updated_at", "due_at"), at)
    return {**email, "to_address": "zoe@example.com", "attempts": 1, **times, **more}


def feedback_row(email_id: str) -> dict[str, Any]:
    texts = dict.fromkeys(("text", "summary"), "")
    flags = dict.fromkeys(("is_hard", "waits", "is_about_other"), False)
    kind = {"source": "test", "kind": "delivered", "proof": "none"}
    return {"digest": email_id, "email_id": email_id, "received_at": NOW, **kind, **texts, **flags}


def layout_of(engine: Engine) -> PartitionLayout | None:
    with reading(engine) as connection:
        return read_layout(connection)


def places(engine: Engine, table: str = "mailctl_emails") -> dict[str, int]:
    """Return how many rows each partition has."""
    query = f"SELECT CAST(tableoid AS regclass)::text AS name, count(*) FROM {table} GROUP BY 1"
    with reading(engine) as connection:
        return {row.name: row.count for row in connection.exec_driver_sql(query)}


def contents(engine: Engine) -> tuple[list[Any], list[Any]]:
    """Return all rows of both tables."""
    with reading(engine) as connection:
        return tuple(  # type: ignore[return-value]
            connection.execute(select(table).order_by(table.c.seq)).all() for table in (emails, events)
        )


def difference(engine: Engine) -> list[Any]:
    """Return what a migration would change to give the log the schema of the code."""
    add_partial_indices()
    options = {"compare_type": True, "compare_server_default": True, "version_table": VERSION_TABLE}
    options["include_name"] = lambda name, kind, _: kind != "table" or name in metadata.tables
    with engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


class TestConverting:
    """A log gets partitions, and loses them, while others use it."""

    def test_every_row_finds_its_partition(self, plain: Log) -> None:
        """By the day of its id; those of other programs lie below, above and between."""
        recent, old = plain.add(), fill(plain.engine, days=[20], number=3)
        with writing(plain.engine) as connection:
            others = ("TASK-1", "4ask", "a" * 36, "00000000-0000-4000-8000-000000000000")
            connection.execute(insert(emails), [row(NOW, id=each) for each in others])
        before = contents(plain.engine)
        partition(plain.engine, now=NOW, days=2)
        assert contents(plain.engine) == before
        names = {"mailctl_emails_low": 2, "mailctl_emails_high": 2}
        found = places(plain.engine)
        assert found.items() >= names.items()
        assert sorted(found.values()) == [1, 2, 2, 3]
        assert {plain.history.find(each)[0].id for each in (recent, *old, *others)} >= {recent, *old}
        assert sum(places(plain.engine, "mailctl_events").values()) == 4

    def test_the_schema_is_that_of_the_code_both_ways(self, parted: Log) -> None:
        """Columns, indexes and triggers; and the numbers of rows go on."""
        before, triggers = contents(parted.engine), names_of_triggers(parted.engine)
        assert difference(parted.engine) == []
        last = max(each.seq for each in before[0])
        added = parted.add()
        for _ in Conversion(parted.engine, ranges=()).run():
            pass
        assert layout_of(parted.engine) is None
        assert difference(parted.engine) == []
        assert names_of_triggers(parted.engine) == triggers
        assert len(triggers) == 3
        emails_after, _ = contents(parted.engine)
        assert emails_after[:-1] == before[0]
        assert (emails_after[-1].id, emails_after[-1].seq) == (added, last + 1)

    def test_what_changes_meanwhile_is_not_lost(self, plain: Log) -> None:
        """New, changed and deleted rows, in every step; also if the conversion is interrupted in each."""
        ids = fill(plain.engine, days=[1, 2], number=50)
        ranges = plan_partitions(plain.engine, now=NOW, days=1).ranges
        steps, expected = set[Step](), contents(plain.engine)
        while layout_of(plain.engine) is None:
            # Interrupted after one step, and repeated.
            for progress in Conversion(plain.engine, ranges=ranges, batch_size=80).run():
                steps.add(progress.step)
                change_some(plain, ids)
                expected = contents(plain.engine)
                if progress.step is not Step.REPLACING:
                    break
        assert steps >= {Step.COPYING, Step.INDEXING, Step.REPLACING}
        assert contents(plain.engine) == expected
        assert leftovers(plain.engine) == []

    def test_an_upgrade_discards_an_unfinished_conversion(self, postgres_url: str) -> None:
        """The copies would not get what the migrations change; the log is upgraded as it was."""
        engine = open_engine(parse_url(postgres_url, setting="X"), setting="X")
        migrate(engine, "0022")
        ids = fill(engine, days=[1])
        next(Conversion(engine, ranges=plan_partitions(engine, now=NOW, days=2).ranges).run())
        assert plan_undo(engine).action is PartitionAction.DISCARD
        assert plan_partitions(engine, now=NOW, days=None).is_begun
        upgrade(engine)
        assert leftovers(engine) == []
        assert plan_undo(engine).action is PartitionAction.NOTHING
        assert [each.id for each in contents(engine)[0]] == ids
        assert difference(engine) == []
        engine.dispose()

    def test_partitions_of_other_days_are_refused(self, parted: Log) -> None:
        """They would overlap; the log can be converted back first."""
        with pytest.raises(Refused, match="partitions of 3 days"):
            plan_partitions(parted.engine, now=NOW, days=7)
        assert plan_partitions(parted.engine, now=NOW, days=None).days == 3

    def test_those_who_may_use_the_tables_still_may(self, plain: Log) -> None:
        """Such as a web service with a database user of its own."""
        role = f"web_{day_of(NOW)}_{id(plain)}"
        with writing(plain.engine) as connection:
            connection.execute(text(f"CREATE ROLE {role}"))
            connection.execute(text(f"GRANT SELECT, INSERT ON mailctl_emails TO {role}"))
        partition(plain.engine, now=NOW)
        query = "SELECT has_table_privilege('{}', 'mailctl_emails', '{}')"
        with writing(plain.engine) as connection:
            granted = [
                connection.execute(text(query.format(role, name))).scalar() for name in ("INSERT", "DELETE")
            ]
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))
        assert granted == [True, False]

    def test_who_does_not_own_the_tables_cannot_convert_them(self, plain: Log) -> None:
        """The sentence names the owner."""
        role = f"other_{id(plain)}"
        with writing(plain.engine) as connection:
            connection.execute(text(f"CREATE ROLE {role} LOGIN"))
            connection.execute(text(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"))
        other = open_engine(plain.engine.url.set(username=role), setting="X")
        with pytest.raises(ConfigurationError, match="'postgres'"):
            plan_partitions(other, now=NOW, days=None)
        other.dispose()
        with writing(plain.engine) as connection:
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))


def names_of_triggers(engine: Engine) -> list[str]:
    query = "SELECT tgname FROM pg_trigger WHERE tgrelid = 'mailctl_emails'::regclass AND NOT tgisinternal"
    with reading(engine) as connection:
        return sorted(connection.exec_driver_sql(query).scalars())


def leftovers(engine: Engine) -> list[str]:
    """Return the names of what a conversion has made for itself."""
    query = (
        "SELECT relname FROM pg_class WHERE relname ~ '_new$|^mailctl_conversion'"
        " UNION ALL SELECT proname FROM pg_proc WHERE proname ~ '^mailctl_conversion'"
        " UNION ALL SELECT tgname FROM pg_trigger WHERE tgname ~ '^mailctl_conversion'"
    )
    with reading(engine) as connection:
        return list(connection.exec_driver_sql(query).scalars())


def change_some(log: Log, ids: list[str]) -> None:
    """Record an email, change one and delete one."""
    log.add()
    changed, deleted = ids.pop(), ids.pop()
    with writing(log.engine) as connection:
        connection.execute(emails.update().where(emails.c.id == changed).values(state=State.BOUNCED))
        connection.execute(emails.delete().where(emails.c.id == deleted))
        connection.execute(events.delete().where(events.c.email_id == deleted))


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


def roll_up(rollup: Rollup) -> None:
    """Do what relays do over a while; transactions of other tests may be in the way."""
    idle = 0
    while idle < 3:
        idle = 0 if rollup.advance() else idle + 1


class TestFinding:
    """Statements reach the partitions that they need, by their indexes."""

    @pytest.fixture
    def plans(self, parted: Log) -> Iterator[list[dict[str, Any]]]:
        """The plans of the statements that a test runs, as PostgreSQL explains them."""
        found: list[dict[str, Any]] = []

        def explain(
            connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
        ) -> None:
            if statement.startswith(("SELECT", "UPDATE", "INSERT")) and not many and "mailctl_e" in statement:
                # As if nothing was small: with few rows, reading all is quickest.
                cursor.execute("SET LOCAL enable_seqscan = off")
                cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
                answer = cursor.fetchone()[0]
                found.append((answer if isinstance(answer, list) else json.loads(answer))[0]["Plan"])

        event.listen(parted.engine, "before_cursor_execute", explain)
        yield found
        event.remove(parted.engine, "before_cursor_execute", explain)

    def test_an_email_is_found_in_its_partition_alone(self, parted: Log, plans: list[Any]) -> None:
        """By its id or the start of it, with its events; when it is claimed, and when it ends."""
        ids = [parted.add() for _ in range(3)]
        plans.clear()
        parted.history.find(ids[0])
        parted.history.find(ids[0][:9])
        parted.history.events(ids[0])
        parted.publications.mark_queued(ids)
        claims = Claims(parted.engine, KEYRING, lease=LEASE, clock=parted.clock).claim(ids, worker="w").claims
        assert len(claims) == 3
        parted.results.finish(claims[0], State.FAILED, reason=None)
        reached = [relations(plan) for plan in plans]
        assert len(reached) >= 7
        day = day_name(parted)
        assert {name for names in reached for name in names} == {
            f"mailctl_{what}_{day}" for what in ("emails", "events")
        }

    def test_due_emails_are_found_by_indexes(self, parted: Log, plans: list[Any]) -> None:
        """Of each partition the index is asked, and those alone are changed that have something."""
        added = [parted.add() for _ in range(3)]
        plans.clear()
        reserved = parted.publications.reserve_due(limit=10)
        assert {each.id for each in reserved} == set(added)
        Campaigns(parted.engine, parted.outbox, clock=parted.clock).take_due(limit=10)
        parted.recovery.release_stale(max_resends=2)
        parted.recovery.expire()
        assert plans
        for plan in plans:
            assert sequential(plan) == []

    def test_the_newest_come_first_without_sorting(self, parted: Log, plans: list[Any]) -> None:
        """Each partition gives its newest, and no more are read than are shown."""
        search(parted.engine, EmailFilter(), limit=5)
        search(parted.engine, EmailFilter(states=[State.FAILED]), limit=5)
        search(parted.engine, EmailFilter(user_id="42"), limit=5)
        assert len(plans) >= 3
        for plan in plans:
            assert sequential(plan) == []
            assert "Sort" not in node_types(plan)

    def test_statistics_of_a_span_are_found_by_time(self, parted: Log, plans: list[Any]) -> None:
        """Emails outside of the span are not read."""
        Statistics(parted.engine).totals(NOW - 4 * DAY, NOW - 2 * DAY)
        assert plans
        for plan in plans:
            assert sequential(plan) == []


def day_name(log: Log) -> str:
    layout = layout_of(log.engine)
    assert layout is not None
    [days] = [each for each in layout.ranges if each.first <= day_of(log.clock.now) < each.end]
    return f"{days.first_date:%Y%m%d}"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


def node_types(plan: dict[str, Any]) -> set[str]:
    return {each["Node Type"] for each in nodes(plan)}


def relations(plan: dict[str, Any]) -> set[str]:
    """Return the partitions that a plan reads."""
    return {
        each["Relation Name"]
        for each in nodes(plan)
        if each["Node Type"] != "ModifyTable" and "mailctl_e" in each.get("Relation Name", "")
    }


def sequential(plan: dict[str, Any]) -> list[str]:
    """Return the partitions of which a plan reads every row."""
    return [
        each["Relation Name"]
        for each in nodes(plan)
        if each["Node Type"] == "Seq Scan" and "mailctl_e" in each["Relation Name"]
    ]


def test_later_migrations_work_on_partitions(postgres_url: str) -> None:
    """Of a log that was partitioned at an earlier version, upgraded since."""
    engine = open_engine(parse_url(postgres_url, setting="X"), setting="X")
    migrate(engine, "0019")
    partition(engine, now=NOW)
    upgrade(engine)
    assert layout_of(engine) is not None
    assert difference(engine) == []
    with reading(engine) as connection:
        assert connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() == HEAD
    fill(engine, days=[0, 2])
    roll_up(Rollup(engine, kinds=BUILT_IN_KINDS))
    assert Statistics(engine).totals(None, None).recorded == 80
    engine.dispose()


def test_sqlite_has_no_partitions(tmp_path: Path) -> None:
    """It is refused in one sentence, and asked for nothing else."""
    engine = open_engine(parse_url(f"sqlite:///{tmp_path / 'log.db'}", setting="X"), setting="X")
    with pytest.raises(ConfigurationError, match="Only a delivery log on PostgreSQL"):
        plan_partitions(engine, now=NOW, days=None)
    with pytest.raises(ConfigurationError, match="Only a delivery log on PostgreSQL"):
        plan_undo(engine)
    assert create_missing(engine, now=NOW) == 0
    engine.dispose()
