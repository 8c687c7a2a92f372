"""Feedback on both databases: once, however many processes hear of it at the same time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import event

from mailctl.delivery_log.feedback_counts import FeedbackCounts
from mailctl.delivery_log.feedback_reports import FeedbackReports
from mailctl.delivery_log.reports import FeedbackResult, Report
from mailctl.delivery_log.suppressions import Suppressions
from mailctl.delivery_log.unsubscribes import Unsubscribes
from mailctl.domain.catalog import Kind
from mailctl.domain.models import SentClaim
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.states import State
from mailctl.feedback import Feedback, FeedbackKind, Proof, recording
from mailctl.feedback.recording import report_of
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.web import report_batches
from mailctl.web.report_batches import ReportBatches
from tests.integration.delivery_log.conftest import Log

if TYPE_CHECKING:
    from pathlib import Path

SENT = Outcome(kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text="queued"), stage="body")


NEWSLETTER = Kind(
    name="newsletter", subject="News", template="news", lifetime=timedelta(days=2), can_unsubscribe=True
)


@pytest.mark.parametrize("char", ["\x00", "\udcff", "\u2028"])
def test_what_a_database_refuses_reaches_none(log: Log, char: str) -> None:
    """Strangers write recipients and Message-IDs: what is about no email is counted, whatever is in it."""
    item = Feedback(
        source="dsn",
        source_id="1",
        kind=FeedbackKind.BOUNCED,
        proof=Proof.LIKELY,
        message_id=f"a{char}@example.org",
        recipient=f"zoe{char}@example.com",
        diagnostic=f"550 {char} no",
        remote_server=f"mx{char}.example.net",
    )
    result = FeedbackReports(log.engine).record([report_of(item)])
    assert result.counts == {FeedbackResult.UNMATCHED: 1}


def test_who_unsubscribes_gets_no_more_of_the_kind(log: Log) -> None:
    """Neither what was recorded before, nor what is recorded later; once, page by page, and until undone."""
    waiting = log.add(NEWSLETTER, email="Zoe@example.com")
    unsubscribes = Unsubscribes(log.engine, clock=log.clock)
    for name in ("zoe", "ada", "zoe"):
        unsubscribes.add(f"{name}@Example.com", kind="newsletter", email_id=waiting)
    assert log.claim(waiting, worker="w") is None
    later = log.add(NEWSLETTER, email="zoe@example.com")
    assert {log.history.find(each)[0].state for each in (waiting, later)} == {State.SUPPRESSED}
    first = unsubscribes.page(limit=1)
    second = unsubscribes.page(limit=1, after=first.cursor)
    found = [each.address for page in (first, second) for each in page.entries]
    assert (found, second.cursor) == (["ada@example.com", "zoe@example.com"], None)
    assert unsubscribes.remove(["ZOE@example.com"], kind="newsletter") == ["zoe@example.com"]
    again = log.add(NEWSLETTER, email="zoe@example.com")
    assert log.history.find(again)[0].state is State.PENDING


def test_looking_for_waiting_reports_reads_no_others(log: Log) -> None:
    """Each worker looks again and again, and a log may have millions of reports."""
    statements: list[tuple[str, Any]] = []

    @event.listens_for(log.engine, "before_cursor_execute")
    def keep(_: object, __: object, statement: str, parameters: object, *___: object) -> None:
        statements.append((statement, parameters))

    FeedbackReports(log.engine).settle()
    query, parameters = next(each for each in statements if "FROM mailctl_feedback" in each[0])
    is_sqlite = log.engine.dialect.name == "sqlite"
    with log.engine.connect() as connection:
        if not is_sqlite:
            # A small table is read whole, whatever indices there are.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
        plan = "\n".join(map(str, connection.exec_driver_sql(f"{explain} {query}", parameters)))
    assert "mailctl_feedback_waiting" in plan


def test_processes_that_hear_the_same_record_it_once(log: Log) -> None:
    """Eight at a time, each with all reports in another order; none waits for another for ever."""
    claims = [claim for _ in range(8) if (claim := log.claim(log.queue(), worker="w")) is not None]
    log.results.finish_sent(
        [
            SentClaim(claim=claim, state=State.SENT, outcome=SENT, message_id=f"<{claim.id}@example.org>")
            for claim in claims
        ]
    )
    all_reports = [
        Report(
            source="ses",
            source_id=f"{claim.id}/{kind}",
            kind=kind,
            is_proven=True,
            summary=kind,
            email_id=claim.id,
            is_hard=kind == "bounced",
        )
        for claim in claims
        for kind in ("delivered", "bounced", "complained")
    ]

    def record(number: int) -> int:
        reports = FeedbackReports(log.engine)
        turned = all_reports[number * 3 :] + all_reports[: number * 3]
        return reports.record(turned).counts[FeedbackResult.RECORDED]

    with ThreadPoolExecutor(8) as processes:
        recorded = sum(processes.map(record, range(8)))
    assert recorded == len(all_reports)
    assert {log.history.find(claim.id)[0].state for claim in claims} == {State.COMPLAINED}
    counts = {each.result: each.count for each in FeedbackCounts(log.engine).read()}
    assert counts == {FeedbackResult.RECORDED: 24, FeedbackResult.REPEATED: 7 * 24}
    address = log.history.find(claims[0].id)[0].to
    entry = Suppressions(log.engine).find(address)
    assert entry is not None
    assert entry.scope == "all"


def test_an_email_that_is_locked_holds_up_no_other(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that come together are recorded together; who has to wait for a lock does so alone."""
    for module in (recording, report_batches):
        monkeypatch.setattr(module, "_SECONDS", 600)
    parts = Runtime(Settings(MAILCTL_HOME=tmp_path, MAILCTL_DATABASE_URL=postgres_url))
    log = Log(parts.engine)
    locked, *others = (log.add() for _ in range(3))

    async def record() -> None:
        batches = ReportBatches(parts)
        calls = (batches.record([delivery_of(email_id)]) for email_id in (locked, *others))
        one, *rest = (asyncio.create_task(call) for call in calls)
        with psycopg.connect(postgres_url) as owner:
            owner.execute("SELECT 1 FROM mailctl_emails WHERE id = %s FOR UPDATE", [locked])
            await asyncio.gather(*rest)
            assert not one.done()
        await one

    asyncio.run(record())
    assert [len(parts.feedback_reports.of_email(each)) for each in (locked, *others)] == [1, 1, 1]
    parts.close()


def delivery_of(email_id: str) -> Feedback:
    """Return a report of a provider."""
    return Feedback(
        source="ses",
        source_id=email_id,
        kind=FeedbackKind.DELIVERED,
        proof=Proof.VERIFIED,
        email_id=email_id,
    )
