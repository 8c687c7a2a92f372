"""`mailctl db partition`, and what other commands tell of the partitions."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from jsonschema import validate
from sqlalchemy import text

from mailctl.delivery_log.storage.partitions.conversion import Conversion
from mailctl.delivery_log.storage.partitions.layout import ranges_from
from mailctl.delivery_log.storage.partitions.planning import plan_partitions
from mailctl.domain.catalog import WELCOME
from mailctl.domain.email_ids import day_of
from mailctl.domain.factory import make_content, make_drafts, make_user
from mailctl.domain.request import EmailRequest
from mailctl.errors import ExitCode
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.settings.connection_urls import DatabaseUrl
from mailctl.views.schemas import find_schema
from mailctl.worker.partition_watch import PartitionWatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.commands import Mailctl


@pytest.fixture
def log(
    mailctl: Mailctl, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runtime]:
    """A log on PostgreSQL with two emails, which commands use."""
    monkeypatch.setenv("MAILCTL_DATABASE_URL", postgres_url)
    assert mailctl("db", "upgrade").code == ExitCode.DONE
    with closing(Runtime(Settings(mailctl_home=tmp_path, mailctl_database_url=postgres_url))) as runtime:
        content = make_content(WELCOME, make_user(email="zoe@example.com"), origins=frozenset())
        drafts = make_drafts(EmailRequest(kind=WELCOME), [content] * 2, queue="celery", now=runtime.clock())
        runtime.outbox.add(drafts, due_at=runtime.clock() + timedelta(hours=1))
        yield runtime


def test_a_log_gets_partitions_and_loses_them(mailctl: Mailctl, log: Runtime) -> None:
    """Each step says what it does, before and after; what is done already is no error."""
    schema = find_schema("partition").generate()
    [plan] = mailctl("db", "partition", "--every", "1d", "--dry-run", "--json").lines
    validate(plan, schema)
    assert (plan["action"], plan["days"], plan["partitions"], plan["rows"]) == ("convert", 1, 3, 4)
    assert "no partitions" in mailctl("db", "partition", "--undo").out
    done = mailctl("db", "partition", "--every", "1d", "--yes")
    assert (done.code, done.out) == (ExitCode.DONE, "the delivery log has partitions of 1 day\n")
    assert "; partitions of 1 day" in mailctl("db", "current").out
    [version] = mailctl("db", "upgrade", "--json").lines
    assert version["partition_days"] == 1
    assert "missing partitions created: 0" in mailctl("db", "partition").out
    assert mailctl("db", "partition", "--every", "7d").code == ExitCode.REFUSED
    [undone] = mailctl("db", "partition", "--undo", "--yes", "--json").lines
    validate(undone, schema)
    assert (undone["action"], undone["rows"]) == ("undo", 4)
    assert "partitions" not in mailctl("db", "current").out
    assert len(mailctl("list", "--json").lines) == 2


def test_it_asks_before_it_copies(mailctl: Mailctl, log: Runtime) -> None:
    """Without a terminal, --yes is needed; the question says how much is copied."""
    refused = mailctl("db", "partition")
    assert refused.code == ExitCode.REFUSED
    assert "Copy about 4 rows" in refused.err
    assert "--yes" in refused.err


def test_an_unfinished_conversion_continues_or_is_discarded(mailctl: Mailctl, log: Runtime) -> None:
    """`check-config` tells of it."""
    begin_conversion(mailctl, log)
    assert "was begun and not finished" in checked(mailctl)
    assert "would continue to copy" in mailctl("db", "partition", "--dry-run").out
    assert "is discarded" in mailctl("db", "partition", "--undo", "--yes").out
    begin_conversion(mailctl, log)
    assert mailctl("db", "partition", "--yes").out == "the delivery log has partitions of 7 days\n"


def begin_conversion(mailctl: Mailctl, log: Runtime) -> None:
    """Begin a conversion, and interrupt it."""
    plan = plan_partitions(log.engine, now=log.clock(), days=None)
    next(Conversion(log.engine, ranges=plan.ranges, batch_size=1).run())


def checked(mailctl: Mailctl) -> str:
    return mailctl("check-config").out


def test_missing_partitions_are_reported_and_created(mailctl: Mailctl, log: Runtime) -> None:
    """By `check-config`; each worker creates them, and so does the command."""
    assert mailctl("db", "partition", "--yes").code == ExitCode.DONE
    assert "3 partitions of 7 days" in checked(mailctl)
    for create in (PartitionWatch(log).check, lambda: mailctl("db", "partition")):
        drop_partitions_of_days(log)
        assert "Today's emails have no partition" in checked(mailctl)
        create()
        assert "partitions of 7 days" in checked(mailctl)


def test_a_worker_that_may_not_create_tables_says_so_and_works_on(
    mailctl: Mailctl, log: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    """Emails are recorded without their partition."""
    assert mailctl("db", "partition", "--yes").code == ExitCode.DONE
    drop_partitions_of_days(log)
    url = log.engine.url.set(username="mailctl_clerk").render_as_string(hide_password=False)
    with log.engine.begin() as connection:
        connection.exec_driver_sql("DROP ROLE IF EXISTS mailctl_clerk")
        connection.exec_driver_sql("CREATE ROLE mailctl_clerk LOGIN")
        connection.exec_driver_sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO mailctl_clerk")
    with closing(
        Runtime(log.settings.model_copy(update={"mailctl_database_url": DatabaseUrl(url)}))
    ) as clerk:
        PartitionWatch(clerk).check()
    assert "cannot create partitions of the delivery log" in caplog.text
    with log.engine.begin() as connection:
        connection.exec_driver_sql("DROP OWNED BY mailctl_clerk")
        connection.exec_driver_sql("DROP ROLE mailctl_clerk")


def drop_partitions_of_days(log: Runtime) -> None:
    """Drop the partitions that have days."""
    query = text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '_[0-9]{8}$'")
    with log.engine.begin() as connection:
        for name in connection.execute(query).scalars().all():
            connection.exec_driver_sql(f"DROP TABLE {name}")


def test_too_many_partitions_for_the_locks_of_the_server_are_reported(mailctl: Mailctl, log: Runtime) -> None:
    """A statement that reaches all of them locks each, with its indexes."""
    assert mailctl("db", "partition", "--every", "1d", "--yes").code == ExitCode.DONE
    assert "locks" not in checked(mailctl)
    later = day_of(log.clock()) + 1000
    with log.engine.begin() as connection:
        for days in ranges_from(later, until=later + 100, days=1):
            name, (first, end) = days.table("mailctl_emails"), days.bounds
            connection.exec_driver_sql(
                f"CREATE TABLE {name} PARTITION OF mailctl_emails FOR VALUES FROM ('{first}') TO ('{end}')"
            )
    assert "Raise max_locks_per_transaction" in checked(mailctl)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--every", "36h"), "whole days"),
        (("--every", "0d"), "--every"),
        (("--every", "400d"), "longer than a year"),
        (("--every", "7d", "--undo"), "does not apply to --undo"),
    ],
)
def test_wrong_times_are_refused(
    mailctl: Mailctl, log: Runtime, arguments: tuple[str, ...], words: str
) -> None:
    """In one sentence."""
    refused = mailctl("db", "partition", *arguments, "--yes")
    assert refused.code == ExitCode.USAGE
    assert words in refused.err


def test_a_log_in_a_file_is_refused(mailctl: Mailctl) -> None:
    """Only PostgreSQL has partitions; the sentence says what to set."""
    assert mailctl("db", "upgrade").code == ExitCode.DONE
    refused = mailctl("db", "partition", "--yes")
    assert refused.code == ExitCode.USAGE
    assert "Only a delivery log on PostgreSQL can have partitions" in refused.err
    assert "MAILCTL_DATABASE_URL" in refused.err
