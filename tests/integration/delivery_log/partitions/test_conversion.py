"""A log is converted to partitions, and back, while it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, text

from mailctl.delivery_log.queries.statistics import Statistics
from mailctl.delivery_log.rollup import Rollup
from mailctl.delivery_log.storage.engine import open_engine, reading, writing
from mailctl.delivery_log.storage.partitions.conversion import Conversion, Step
from mailctl.delivery_log.storage.partitions.creation import create_missing
from mailctl.delivery_log.storage.partitions.planning import plan_partitions, plan_undo
from mailctl.delivery_log.storage.schema_version import HEAD, VERSION_TABLE, upgrade
from mailctl.delivery_log.storage.tables import emails, events
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.email_ids import day_of
from mailctl.domain.partition_actions import PartitionAction
from mailctl.domain.states import State
from mailctl.errors import ConfigurationError, Refused
from tests.integration.delivery_log.conftest import Log, partition
from tests.integration.older_logs import migrate

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

from tests.integration.delivery_log.partitions.contents import (
    NOW,
    contents,
    difference,
    fill,
    layout_of,
    places,
    roll_up,
    row,
)


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
