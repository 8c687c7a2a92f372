"""Reports about accepted emails: each is recorded once, and changes the state of the email if proven."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select, text, update

from mailctl.delivery_log.feedback_counts import add_counts
from mailctl.delivery_log.report_effects import NewReport, apply_reports, can_follow
from mailctl.delivery_log.reports import (
    PROVEN,
    UNPROVEN,
    FeedbackResult,
    LoggedReport,
    RecordedReports,
    Report,
)
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.shared_transactions import SharedTransactions
from mailctl.delivery_log.storage.batches import batches, is_among
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.partial_indices import IS_WAITING_REPORT
from mailctl.delivery_log.storage.tables import emails, feedback
from mailctl.delivery_log.transitions import insert_new
from mailctl.domain.mailbox import canonical_mailbox
from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.states import UNFINISHED_STATES, State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine, Row

#: Written as in the index: databases would not recognise another spelling, and read all reports.
_IS_WAITING = text(f"{feedback.name}.{IS_WAITING_REPORT}")
#: Whoever knows a Message-ID can make unproven reports: of one email, no more than these are recorded.
_MAX_UNPROVEN = 5
#: Whoever got an email has its token, and can make proven reports: of each kind, about so many are recorded.
_MAX_PROVEN = 100
#: Reports of one call that share a transaction with those of others; more are one of their own.
_MAX_SHARED = 50
#: Reports that waited, in one transaction.
_MAX_SETTLED = 500


class FeedbackReports(Repository):
    """Records reports, applies them to emails, and counts them.

    Args:
        engine: of the delivery log's database, with the current schema.
        clock: returns the current time, aware; None takes the clock of the log.
    """

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] | None = None) -> None:
        super().__init__(engine, clock=clock)
        #: Those of calls that come together.
        self._transactions = SharedTransactions(engine, self._record_all)

    def record(self, reports: Sequence[Report]) -> RecordedReports:
        """Record reports, in any order; repetitions and reports of unknown emails change nothing.

        The states of the emails and the suppressions of their addresses change in the same transaction, which
        calls of several threads share if they come together. When this returns, it is on disk.

        Raises:
            LogUnavailable: the delivery log cannot be written; nothing is recorded.
        """
        if not reports:
            return RecordedReports()
        if len(reports) <= _MAX_SHARED:
            return self._transactions.write(reports, order=reports[0].email_id or reports[0].digest)
        with writing(self._engine) as connection:
            [result] = self._record_all(connection, [reports])
            return result

    def _record_all(self, connection: Connection, calls: Sequence[Sequence[Report]]) -> list[RecordedReports]:
        """Record the reports of several calls, in a number of statements that hardly depends on them."""
        now = self._clock()
        results = [RecordedReports() for _ in calls]
        given = [
            (report, result) for reports, result in zip(calls, results, strict=True) for report in reports
        ]
        known = _find_emails(connection, [report for report, _ in given])
        found = [_match(report, known.get(report.digest), result) for report, result in given]
        # In one order, so that two transactions never wait for each other.
        matched = sorted(filter(None, found), key=_order)
        new = _insert(connection, matched, now=now)
        apply_reports(connection, [each for each in new if not _waits(each)], now=now)
        new_ids = {id(each) for each in new}
        counts: Counter[tuple[str, FeedbackResult]] = Counter()
        for (report, result), each in zip(given, found, strict=True):
            verdict = _verdict(report, is_known=each is not None, is_new=id(each) in new_ids)
            result.counts[verdict] += 1
            counts[report.source, verdict] += 1
        add_counts(connection, counts, now=now)
        return results

    def settle(self) -> RecordedReports:
        """Apply reports that came before the outcome of their attempt, where that is recorded by now.

        Raises:
            LogUnavailable: the delivery log cannot be written.
        """
        result = RecordedReports()
        query = (
            select(feedback, *_EMAIL_FACTS)
            .join(emails, emails.c.id == feedback.c.email_id)
            .where(_IS_WAITING, or_(can_follow(), ~emails.c.state.in_(UNFINISHED_STATES)))
            .limit(_MAX_SETTLED)
        )
        with reading(self._engine) as connection:
            digests = [row.digest for row in connection.execute(query)]
        if not digests:
            return result
        now = self._clock()
        with writing(self._engine) as connection:
            rows = connection.execute(query.where(feedback.c.digest.in_(digests))).all()
            new = [_waited(row, result) for row in rows if _end_waiting(connection, row.digest)]
            apply_reports(connection, sorted(new, key=_order), now=now)
        return result

    def of_email(self, email_id: str) -> list[LoggedReport]:
        """Return the reports about an email, in the order in which they came."""
        query = (
            select(feedback)
            .where(feedback.c.email_id == email_id)
            .order_by(feedback.c.received_at, feedback.c.digest)
        )
        with reading(self._engine) as connection:
            return [_logged_from_row(row) for row in connection.execute(query)]


#: What of an email decides about its reports.
_EMAIL_FACTS = (
    emails.c.id,
    emails.c.state,
    emails.c.attempts,
    emails.c.to_address,
    emails.c.mailbox,
    emails.c.maybe_sent,
    emails.c.campaign,
    emails.c.can_unsubscribe,
    # Reports have a kind, too.
    emails.c.kind.label("email_kind"),
)


#: Statements, built once: building one takes as long as running it.
_EMAILS = select(*_EMAIL_FACTS, emails.c.message_id).order_by(emails.c.id).with_for_update()
_EMAILS_BY_ID = _EMAILS.where(is_among(emails.c.id, "ids"))
_EMAILS_BY_MESSAGE = _EMAILS.where(
    is_among(emails.c.mailbox, "mailboxes"),
    is_among(emails.c.message_id, "message_ids"),
)
_AT_REPORT_LIMIT = (
    select(feedback.c.email_id, feedback.c.kind)
    .where(feedback.c.proof == PROVEN, is_among(feedback.c.email_id, "ids"))
    .group_by(feedback.c.email_id, feedback.c.kind)
    .having(func.count() >= _MAX_PROVEN)
)


def _find_emails(connection: Connection, reports: Sequence[Report]) -> dict[str, Row[Any]]:
    """Return the emails that reports are about, by the digest of the report."""
    ids = list({report.email_id for report in reports if report.email_id is not None})
    by_id = {row.id: row for some in batches(ids) for row in _lock(connection, _EMAILS_BY_ID, ids=some)}
    found = {
        report.digest: by_id[report.email_id]
        for report in reports
        if report.email_id is not None and report.email_id in by_id
    }
    by_message = [each for each in reports if each.email_id is None and each.message_id and each.recipient]
    for some_reports in batches(by_message):
        mailboxes = list({canonical_mailbox(each.recipient or "") for each in some_reports})
        message_ids = list({each.message_id for each in some_reports})
        locked = _lock(connection, _EMAILS_BY_MESSAGE, mailboxes=mailboxes, message_ids=message_ids)
        rows = {(row.mailbox, row.message_id): row for row in locked}
        for each in some_reports:
            if row := rows.get((canonical_mailbox(each.recipient or ""), each.message_id)):
                found[each.digest] = row
    return found


def _lock(connection: Connection, query: Any, **values: Any) -> Sequence[Row[Any]]:
    """Return the rows that will change, locked in one order."""
    return connection.execute(query, values).all()


def _match(report: Report, email: Row[Any] | None, result: RecordedReports) -> NewReport | None:
    """Return a report with the email that it is about; None if that is not in this log."""
    if email is None:
        return None
    recipient = report.recipient
    is_about_other = recipient is not None and (
        canonical_mailbox(recipient) != canonical_mailbox(email.to_address)
    )
    return NewReport(report=report, email=email, is_about_other=is_about_other, result=result)


def _order(each: NewReport) -> tuple[str, str]:
    return each.email.id, each.report.digest


def _waits(each: NewReport) -> bool:
    """Whether the outcome of the attempt has to be recorded before a report is applied."""
    state = each.email.state
    return each.report.is_proven and state in UNFINISHED_STATES and state != State.HELD


def _verdict(report: Report, *, is_known: bool, is_new: bool) -> FeedbackResult:
    if not is_known:
        return FeedbackResult.UNMATCHED
    if not is_new:
        return FeedbackResult.REPEATED
    return FeedbackResult.RECORDED if report.is_proven else FeedbackResult.LIKELY


def _insert(connection: Connection, matched: Sequence[NewReport], *, now: datetime) -> list[NewReport]:
    """Insert reports; return those that were not known."""
    proven = [each for each in matched if each.report.is_proven]
    at_limit = _at_report_limit(connection, {each.email.id for each in proven})
    rows = [
        _feedback_row(each, now=now) for each in proven if (each.email.id, each.report.kind) not in at_limit
    ]
    inserted = insert_new(connection, feedback, rows)
    for each in matched:
        if not each.report.is_proven and not _has_enough_unproven(connection, each.email.id):
            inserted |= insert_new(connection, feedback, [_feedback_row(each, now=now)])
    # The same report may be among them twice.
    first = {each.report.digest: each for each in reversed(matched)}
    return [each for digest, each in reversed(first.items()) if digest in inserted]


def _at_report_limit(connection: Connection, email_ids: Collection[str]) -> set[tuple[str, str]]:
    """Return the emails and the kinds of report for which no more proven reports are recorded."""
    return {
        (row.email_id, row.kind)
        for some in batches(sorted(email_ids))
        for row in connection.execute(_AT_REPORT_LIMIT, {"ids": some})
    }


def _has_enough_unproven(connection: Connection, email_id: str) -> bool:
    unproven = select(func.count()).where(feedback.c.email_id == email_id, feedback.c.proof == UNPROVEN)
    return int(connection.execute(unproven).scalar_one()) >= _MAX_UNPROVEN


def _feedback_row(new: NewReport, *, now: datetime) -> dict[str, Any]:
    report, is_complaint = new.report, new.report.target is State.COMPLAINED
    counts_against_campaign = report.is_proven and (report.is_hard or is_complaint)
    return {
        "digest": report.digest,
        "email_id": new.email.id,
        "source": report.source,
        "kind": report.kind,
        "proof": PROVEN if report.is_proven else UNPROVEN,
        "at": report.at,
        "received_at": now,
        "code": report.reply.code,
        "enhanced": report.reply.enhanced,
        "text": report.reply.text,
        "summary": report.summary,
        "remote_server": report.remote_server,
        "is_hard": report.is_hard,
        "campaign": new.email.campaign if counts_against_campaign else None,
        "waits": _waits(new),
        "is_about_other": new.is_about_other,
    }


def _end_waiting(connection: Connection, digest: str) -> bool:
    """Note that a report waits no longer; return whether it did."""
    waits = update(feedback).where(feedback.c.digest == digest, feedback.c.waits.is_(True))
    ended = connection.execute(waits.values(waits=False).returning(feedback.c.digest))
    return ended.first() is not None


def _waited(row: Row[Any], result: RecordedReports) -> NewReport:
    report = _report_from_row(row)
    return NewReport(report=report, email=row, is_about_other=row.is_about_other, result=result)


def _report_from_row(row: Row[Any]) -> Report:
    """Return a report that waited."""
    return Report(
        source=row.source,
        source_id="",
        kind=row.kind,
        is_proven=True,
        summary=row.summary,
        at=row.at,
        reply=_reply_from_row(row),
        remote_server=row.remote_server,
        is_hard=row.is_hard,
    )


def _logged_from_row(row: Row[Any]) -> LoggedReport:
    return LoggedReport(
        email_id=row.email_id,
        source=row.source,
        kind=row.kind,
        proof=row.proof,
        at=row.at,
        received_at=row.received_at,
        reply=_reply_from_row(row),
        remote_server=row.remote_server,
        is_hard=row.is_hard,
    )


def _reply_from_row(row: Row[Any]) -> SmtpReply:
    return SmtpReply(code=row.code, enhanced=row.enhanced, text=row.text)
