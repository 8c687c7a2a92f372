"""Reports about accepted emails: recorded once, in any order, and proven before they change anything."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from mailctl.delivery_log.feedback_counts import FeedbackCounts
from mailctl.delivery_log.feedback_reports import FeedbackReports
from mailctl.delivery_log.queries.failed_attempts import find_failed_attempts
from mailctl.delivery_log.reports import FeedbackResult, RecordedReports, Report
from mailctl.delivery_log.retention import Retention
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.partial_indices import IS_WAITING_REPORT
from mailctl.delivery_log.suppressions import Suppressions, SuppressionScope, SuppressionSource
from mailctl.domain.models import SentClaim
from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from tests.unit.delivery_log.conftest import NO_REPLY, SENT

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

NO_SUCH_USER = SmtpReply(code=550, enhanced="5.1.1", text="no such user")
ADDRESS = "zoe@example.com"
REPORTED = {State.DELIVERED, State.BOUNCED, State.COMPLAINED}


def sent(log: Log, address: str = ADDRESS, **more: Any) -> str:
    """Return an email that a mail server has accepted."""
    email_id = log.add(address, **more)
    claim = log.claim(email_id)
    message_id = f"<{email_id[:8]}@example.org>"
    each = SentClaim(claim=claim, state=State.SENT, outcome=SENT, message_id=message_id)
    assert log.results.finish_sent([each]) == []
    return email_id


def report(email_id: str | None, kind: str = "bounced", *, id: str = "1", **more: Any) -> Report:
    """Return a proven report."""
    values: dict[str, Any] = {"source": "dsn", "is_proven": True, "summary": f"{kind} by mx.example.net"}
    return Report(**{**values, "source_id": id, "kind": kind, "email_id": email_id, **more})


def reports_of(log: Log) -> FeedbackReports:
    """Return the reports of a log."""
    return FeedbackReports(log.engine, clock=log.time)


@pytest.mark.parametrize(
    ("kind", "state", "code"),
    [
        ("delivered", State.DELIVERED, ReasonCode.DELIVERY_REPORTED),
        ("bounced", State.BOUNCED, ReasonCode.BOUNCE_REPORTED),
        ("complained", State.COMPLAINED, ReasonCode.COMPLAINT_REPORTED),
        ("delayed", State.SENT, ReasonCode.DELAY_REPORTED),
        ("relayed", State.SENT, ReasonCode.RELAY_REPORTED),
        ("unsubscribed", State.SENT, ReasonCode.UNSUBSCRIBE_REPORTED),
    ],
)
def test_each_kind_has_its_state_and_event(log: Log, kind: str, state: State, code: ReasonCode) -> None:
    """A delay is an event, and no state."""
    email_id = sent(log)
    result = reports_of(log).record([report(email_id, kind, reply=NO_SUCH_USER)])
    assert result.counts[FeedbackResult.RECORDED] == 1
    assert log.email(email_id).state is state
    event = log.last_event(email_id)
    assert (event.state, event.reason_code, event.code, event.worker) == (state, code, 550, None)
    assert event.text == f"{kind} by mx.example.net"


def test_reports_that_come_together_share_a_transaction(log: Log) -> None:
    """Each call has its own result, once its reports are on disk; one that fails spoils no other."""
    ids = [sent(log, f"zoe{number}@example.com") for number in range(5)]
    given = [
        [report(ids[0], "delivered")],
        [report(ids[1], "delivered", id="6"), report(ids[2], "bounced", id="2")],
        [report(ids[3], "no such kind", id="3")],
        [report(ids[4], "delivered", id="4"), report(ids[4], "delivered", id="4")],
        [report(None, "delivered", id="5")],
        [report(ids[0], "delivered")],
    ]
    reports, commits = reports_of(log), []

    def record(some: list[Report]) -> RecordedReports:
        result = reports.record(some)
        assert {log.email(change.email_id).state for change in result.changes} <= REPORTED
        return result

    event.listen(log.engine, "commit", commits.append)
    with log.called_together(reports._transactions, lambda: record([report(None, id="7")])) as submit:
        calls = [submit(record, some) for some in given]
    assert isinstance(calls.pop(2).exception(60), KeyError)
    results = [call.result(60) for call in calls]
    recorded, repeated = FeedbackResult.RECORDED, FeedbackResult.REPEATED
    # Which of two calls with the same report is the first is left open.
    assert results[0].counts + results[4].counts == {recorded: 1, repeated: 1}
    assert results[1].counts == {recorded: 2}
    assert {(each.email_id, each.state) for each in results[1].changes} == {
        (ids[1], State.DELIVERED),
        (ids[2], State.BOUNCED),
    }
    assert results[2].counts == {recorded: 1, repeated: 1}
    assert results[3].counts == {FeedbackResult.UNMATCHED: 1}
    assert log.email(ids[3]).state is State.SENT
    assert len(commits) == len({"the first", "all others but the one that fails"})


def test_a_call_with_many_reports_has_a_transaction_of_its_own(log: Log) -> None:
    """The others would have to wait for it."""
    email_id = sent(log)
    reports, commits = reports_of(log), []
    many = [report(email_id, "delayed", id=f"many/{number}") for number in range(60)]
    event.listen(log.engine, "commit", commits.append)
    first = [report(email_id, "delayed", id="first")]
    few = [[report(email_id, "delayed", id=str(number))] for number in range(2)]
    with (
        ThreadPoolExecutor(1) as executor,
        log.called_together(reports._transactions, lambda: reports.record(first)) as submit,
    ):
        alone = executor.submit(reports.record, many)
        calls = [submit(reports.record, some) for some in few]
    recorded = [call.result(60).counts for call in (alone, *calls)]
    assert [counts[FeedbackResult.RECORDED] for counts in recorded] == [60, 1, 1]
    assert len(commits) == len({"the first", "those of one report each", "that of many"})


def test_what_is_only_noted_after_a_bounce_is_no_failure(log: Log) -> None:
    """A delivery that is reported late, or a bounce that nothing proves, would be counted as another one."""
    email_id, reports = sent(log), reports_of(log)
    reports.record([report(email_id, reply=NO_SUCH_USER)])
    reports.record([report(email_id, "delivered", id="2"), report(email_id, id="3", is_proven=False)])
    [failed] = find_failed_attempts(log.engine, since=log.time() - timedelta(hours=1))
    assert (failed.state, failed.text) == (State.BOUNCED, "bounced by mx.example.net")


def test_a_bounce_is_the_reason_why_an_email_did_not_arrive(log: Log) -> None:
    """What the first server said when it accepted the email stays beside it."""
    email_id = sent(log)
    reports_of(log).record([report(email_id, reply=NO_SUCH_USER)])
    email = log.email(email_id)
    assert (email.reason_code, email.error) == (ReasonCode.BOUNCE_REPORTED, "bounced by mx.example.net")
    assert email.reply.code == SENT.reply.code
    assert email.has_ended_unsent
    reports_of(log).record([report(email_id, "complained", id="2")])
    assert log.email(email_id).reason_code is None


@pytest.mark.parametrize("order", list(permutations(["delayed", "delivered", "bounced", "complained"])))
@pytest.mark.parametrize("together", [True, False])
def test_neither_order_nor_repetition_matters(log: Log, order: tuple[str, ...], together: bool) -> None:
    """Complained prevails over bounced, bounced over delivered; each report has one event."""
    email_id, reports = sent(log), reports_of(log)
    before = len(log.lookups.events(email_id))
    all_reports = [report(email_id, kind, id=kind) for kind in (*order, *order)]
    for some in [all_reports] if together else [[each] for each in all_reports]:
        reports.record(some)
    assert log.email(email_id).state is State.COMPLAINED
    assert len(log.lookups.events(email_id)) == before + 4
    counts = {each.result: each.count for each in FeedbackCounts(log.engine).read()}
    assert counts == {FeedbackResult.RECORDED: 4, FeedbackResult.REPEATED: 4}
    reports.record([report(email_id, "bounced", id="late")])
    assert log.email(email_id).state is State.COMPLAINED
    assert log.last_event(email_id).reason_code is ReasonCode.REPORT_NOTED


def test_the_same_id_of_two_sources_is_two_reports(log: Log) -> None:
    """An id identifies a report at its source alone."""
    email_id, reports = sent(log), reports_of(log)
    result = reports.record([report(email_id), report(email_id, source="ses")])
    assert result.counts[FeedbackResult.RECORDED] == 2
    assert [each.source for each in reports.of_email(email_id)] in (["dsn", "ses"], ["ses", "dsn"])


def test_a_report_of_no_email_is_only_counted(log: Log) -> None:
    """Such as one about an email of another service."""
    result = reports_of(log).record([report("somebody-elses"), report(None)])
    assert result.counts[FeedbackResult.UNMATCHED] == 2
    [count] = FeedbackCounts(log.engine).read()
    assert (count.source, count.result, count.count) == ("dsn", FeedbackResult.UNMATCHED, 2)
    assert count.last_at == log.now


def test_an_email_is_found_by_message_id_and_recipient(log: Log) -> None:
    """Other spellings of the address are the same mailbox; another Message-ID is another email."""
    email_id = sent(log)
    message_id = log.email(email_id).message_id
    other = report(None, id="2", message_id="<x@example.org>", recipient=ADDRESS)
    found = report(None, message_id=message_id, recipient="Zoe+x@EXAMPLE.com")
    result = reports_of(log).record([other, found])
    assert result.counts[FeedbackResult.UNMATCHED] == 1
    assert log.email(email_id).state is State.BOUNCED


def test_an_unproven_report_is_an_event_and_nothing_else(log: Log) -> None:
    """Neither state nor suppression; and not without end."""
    email_id, reports = sent(log), reports_of(log)
    many = [
        report(email_id, "complained", id=str(n), is_proven=False, is_hard=True, reply=NO_SUCH_USER)
        for n in range(9)
    ]
    result = reports.record(many)
    assert result.counts[FeedbackResult.LIKELY] == 5
    assert log.email(email_id).state is State.SENT
    assert log.last_event(email_id).reason_code is ReasonCode.REPORT_NOTED
    assert Suppressions(log.engine).find(ADDRESS) is None
    assert {each.proof for each in reports.of_email(email_id)} == {"likely"}


def test_who_has_one_email_cannot_fill_the_log_with_reports_about_it(log: Log) -> None:
    """Its token proves each; of each kind some are kept, so that delays never keep out the bounce."""
    email_id, reports = sent(log), reports_of(log)
    counts: Counter[FeedbackResult] = Counter()
    for number in range(110):
        counts += reports.record([report(email_id, "delayed", id=str(number))]).counts
    assert counts == {FeedbackResult.RECORDED: 100, FeedbackResult.REPEATED: 10}
    bounce = report(email_id, id="bounce")
    assert reports.record([bounce]).counts == {FeedbackResult.RECORDED: 1}
    assert log.email(email_id).state is State.BOUNCED


@pytest.mark.parametrize("before", ["pending", "queued", "sending"])
def test_a_report_that_comes_before_the_outcome_waits_for_it(log: Log, before: str) -> None:
    """A mail server may bounce an email before the worker has recorded that it was accepted."""
    email_id, reports = log.queue() if before == "queued" else log.add(), reports_of(log)
    claim = log.claim(email_id) if before == "sending" else None
    state = log.email(email_id).state
    result = reports.record([report(email_id, is_hard=True, reply=NO_SUCH_USER)])
    assert result.counts[FeedbackResult.RECORDED] == 1
    assert log.email(email_id).state is state
    assert reports.settle().changes == []
    claim = claim or log.claim(email_id)
    each = SentClaim(claim=claim, state=State.SENT, outcome=SENT, message_id="<m@example.org>")
    assert log.results.finish_sent([each]) == []
    [change] = reports.settle().changes
    assert (change.email_id, change.state, change.report.reply) == (email_id, State.BOUNCED, NO_SUCH_USER)
    assert log.email(email_id).state is State.BOUNCED
    assert Suppressions(log.engine).find("zoe@example.com") is not None
    assert reports.settle().changes == []


def test_reports_that_wait_are_found_without_reading_the_others(log: Log) -> None:
    """Relays look for them every second, and there may be a report for each email."""
    with writing(log.engine) as connection:
        connection.exec_driver_sql(
            f"CREATE INDEX waiting ON mailctl_feedback (email_id) WHERE {IS_WAITING_REPORT}"
        )
    plans: list[str] = []

    def explain(_conn: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        plan = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        plans.append(" ".join(str(row[-1]) for row in plan))

    event.listen(log.engine, "before_cursor_execute", explain)
    reports_of(log).settle()
    assert any("mailctl_feedback USING INDEX waiting" in plan for plan in plans), plans


@pytest.mark.parametrize("state", [State.HELD, State.FAILED])
def test_a_report_settles_what_was_in_doubt(log: Log, state: State) -> None:
    """The mail server gave no reply; the report proves that it had accepted the email."""
    email_id = log.add()
    log.results.finish(log.claim(email_id), state, outcome=NO_REPLY)
    reports_of(log).record([report(email_id, "delivered")])
    email = log.email(email_id)
    assert (email.state, email.sent_at) == (State.DELIVERED, log.now)


@pytest.mark.parametrize("state", [State.HELD, State.FAILED, State.CANCELLED, State.CAPTURED])
def test_what_was_never_handed_over_stays_as_it_is(log: Log, state: State) -> None:
    """The report is noted."""
    email_id = log.add()
    log.change(email_id, state=state)
    reports_of(log).record([report(email_id, "delivered")])
    assert log.email(email_id).state is state
    assert log.last_event(email_id).reason_code is ReasonCode.REPORT_NOTED


def test_a_hard_bounce_suppresses_the_address_with_the_evidence(log: Log) -> None:
    """A soft one does not."""
    soft, hard = sent(log, "yan@example.com"), sent(log)
    reports_of(log).record([report(soft, id="1"), report(hard, id="2", is_hard=True, reply=NO_SUCH_USER)])
    suppressions = Suppressions(log.engine)
    assert suppressions.find("yan@example.com") is None
    entry = suppressions.find(ADDRESS)
    assert entry is not None
    assert (entry.source, entry.scope) == (SuppressionSource.BOUNCE, SuppressionScope.ALL)
    assert (entry.code, entry.enhanced, entry.reason, entry.email_id) == (550, "5.1.1", "no such user", hard)


def test_a_bounce_of_another_recipient_suppresses_nobody(log: Log) -> None:
    """The recipient forwards it to a mailbox that is gone."""
    email_id = sent(log)
    reports_of(log).record([report(email_id, is_hard=True, recipient="zoe@elsewhere.example")])
    assert log.email(email_id).state is State.BOUNCED
    assert Suppressions(log.engine).find(ADDRESS) is None


def test_a_complaint_stops_only_what_can_be_unsubscribed_from(log: Log) -> None:
    """A password reset still goes out; a campaign does not. A hard bounce stops everything."""
    reports, suppressions = reports_of(log), Suppressions(log.engine, clock=log.time)
    waiting = log.add(campaign="news")
    reports.record([report(sent(log), "complained")])
    entry = suppressions.find(ADDRESS)
    assert entry is not None
    assert (entry.source, entry.scope) == (SuppressionSource.COMPLAINT, SuppressionScope.OPTIONAL)
    assert log.email(log.add(campaign="more")).state is State.SUPPRESSED
    assert log.claims.claim([waiting], worker="w").claims == []
    assert log.email(waiting).state is State.SUPPRESSED
    single = log.add()
    assert log.claim(single)
    log.forward(1)
    reports.record([report(sent(log), id="2", is_hard=True, reply=NO_SUCH_USER)])
    assert suppressions.find(ADDRESS) is not None
    assert log.email(log.add()).state is State.SUPPRESSED


def test_reports_are_deleted_with_their_email(log: Log) -> None:
    """What is known of an email is not kept for longer than the email."""
    email_id = sent(log)
    reports_of(log).record([report(email_id)])
    later = log.now + timedelta(days=1)
    list(Retention(log.engine, clock=log.time).prune(contents_before=later, emails_before=later))
    assert log.lookups.emails([email_id]) == []
    assert reports_of(log).of_email(email_id) == []
