"""Reports about accepted emails: each is recorded once, and changes the state of the email if proven."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, func, or_, select, text, update

from mailctl.delivery_log.feedback_counts import add_counts
from mailctl.delivery_log.reports import (
    PROVEN,
    UNPROVEN,
    FeedbackChange,
    FeedbackResult,
    LoggedReport,
    RecordedReports,
    Report,
)
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.batches import batches
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.partial_indices import IS_WAITING_REPORT
from mailctl.delivery_log.storage.raw_insert import insert_rows
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails, events, feedback
from mailctl.delivery_log.storage.utc_time import UtcDateTime
from mailctl.delivery_log.suppressions import Suppression, SuppressionScope, SuppressionSource, suppress
from mailctl.delivery_log.transitions import StateChange, insert_or_ignore
from mailctl.delivery_log.unsubscribes import unsubscribe
from mailctl.domain.mailbox import canonical_mailbox
from mailctl.domain.models import ACCEPTED_STATES, UNFINISHED_STATES, State
from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.reason_codes import Reason, ReasonCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

#: Written as in the index: databases would not recognise another spelling, and read all reports.
_IS_WAITING = text(f"{feedback.name}.{IS_WAITING_REPORT}")
#: Whoever knows a Message-ID can make unproven reports: of one email, no more than these are recorded.
_MAX_UNPROVEN = 5
#: Reports that waited, in one transaction.
_MAX_SETTLED = 500
#: The reason of the event of a proven report, by what it says.
_CODES: Mapping[str, ReasonCode] = {
    "delivered": ReasonCode.DELIVERY_REPORTED,
    "delayed": ReasonCode.DELAY_REPORTED,
    "relayed": ReasonCode.RELAY_REPORTED,
    "bounced": ReasonCode.BOUNCE_REPORTED,
    "complained": ReasonCode.COMPLAINT_REPORTED,
    "unsubscribed": ReasonCode.UNSUBSCRIBE_REPORTED,
}


class FeedbackReports(Repository):
    """Records reports, applies them to emails, and counts them."""

    def record(self, reports: Sequence[Report]) -> RecordedReports:
        """Record reports, in any order; repetitions and reports of unknown emails change nothing.

        The states of the emails and the suppressions of their addresses change in the same transaction.

        Raises:
            LogUnavailable: the delivery log cannot be written; nothing is recorded.
        """
        now, result = self._clock(), RecordedReports()
        counts: Counter[tuple[str, FeedbackResult]] = Counter()
        with writing(self._engine) as connection:
            known = _find_emails(connection, reports)
            # In one order, so that two transactions never wait for each other.
            matched = sorted(
                ((row, report) for report in reports if (row := known.get(report.digest))),
                key=lambda each: (each[0].id, each[1].digest),
            )
            for row, report in matched:
                counts[report.source, _record_one(connection, row, report, result, now=now)] += 1
            unmatched = Counter(report.source for report in reports if report.digest not in known)
            for source, amount in unmatched.items():
                counts[source, FeedbackResult.UNMATCHED] += amount
            add_counts(connection, counts, now=now)
        for (_, verdict), amount in counts.items():
            result.counts[verdict] += amount
        return result

    def settle(self) -> RecordedReports:
        """Apply reports that came before the outcome of their attempt, where that is recorded by now.

        Raises:
            LogUnavailable: the delivery log cannot be written.
        """
        result = RecordedReports()
        query = (
            select(feedback, *_EMAIL_FACTS)
            .join(emails, emails.c.id == feedback.c.email_id)
            .where(_IS_WAITING, or_(_can_follow(), ~emails.c.state.in_(UNFINISHED_STATES)))
            .limit(_MAX_SETTLED)
        )
        with reading(self._engine) as connection:
            digests = [row.digest for row in connection.execute(query)]
        if not digests:
            return result
        now = self._clock()
        with writing(self._engine) as connection:
            for row in connection.execute(query.where(feedback.c.digest.in_(digests))).all():
                waits = update(feedback).where(feedback.c.digest == row.digest, feedback.c.waits.is_(True))
                if connection.execute(waits.values(waits=False).returning(feedback.c.digest)).first():
                    report = _report_from_row(row)
                    result.new.append((row.id, report))
                    _apply(connection, row, report, result, is_about_other=row.is_about_other, now=now)
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


def _can_follow() -> Any:
    """Return the condition that a report may change the state: a mail server has, or may have, the email."""
    ended = UNINDEXED_STATE.in_((*ACCEPTED_STATES, State.UNCONFIRMED))
    in_doubt = and_(emails.c.maybe_sent.is_(True), UNINDEXED_STATE.in_((State.HELD, State.FAILED)))
    return or_(ended, in_doubt)


def _find_emails(connection: Connection, reports: Sequence[Report]) -> dict[str, Row[Any]]:
    """Return the emails that reports are about, by the digest of the report."""
    ids = list({report.email_id for report in reports if report.email_id is not None})
    by_id = {row.id: row for some in batches(ids) for row in _select(connection, emails.c.id.in_(some))}
    found = {
        report.digest: by_id[report.email_id]
        for report in reports
        if report.email_id is not None and report.email_id in by_id
    }
    by_message = [each for each in reports if each.email_id is None and each.message_id and each.recipient]
    for some_reports in batches(by_message):
        mailboxes = {canonical_mailbox(each.recipient or "") for each in some_reports}
        message_ids = {each.message_id for each in some_reports}
        is_one = and_(emails.c.mailbox.in_(mailboxes), emails.c.message_id.in_(message_ids))
        rows = {(row.mailbox, row.message_id): row for row in _select(connection, is_one)}
        for each in some_reports:
            if row := rows.get((canonical_mailbox(each.recipient or ""), each.message_id)):
                found[each.digest] = row
    return found


def _select(connection: Connection, where: Any) -> Sequence[Row[Any]]:
    query: Any = select(*_EMAIL_FACTS, emails.c.message_id).where(where)
    return connection.execute(query).all()


def _record_one(
    connection: Connection, row: Row[Any], report: Report, result: RecordedReports, *, now: datetime
) -> FeedbackResult:
    if not report.is_proven and _has_enough_unproven(connection, row.id):
        return FeedbackResult.REPEATED
    waits = report.is_proven and row.state in UNFINISHED_STATES and row.state != State.HELD
    is_about_other = _is_about_other(row, report)
    new = _feedback_row(row, report, now=now) | {"waits": waits, "is_about_other": is_about_other}
    if not insert_or_ignore(connection, feedback, new):
        return FeedbackResult.REPEATED
    if not waits:
        result.new.append((row.id, report))
        _apply(connection, row, report, result, is_about_other=is_about_other, now=now)
    return FeedbackResult.RECORDED if report.is_proven else FeedbackResult.LIKELY


def _apply(
    connection: Connection,
    row: Row[Any],
    report: Report,
    result: RecordedReports,
    *,
    is_about_other: bool,
    now: datetime,
) -> None:
    """Change the state of the email if the report proves that, or else note the report in an event."""
    if report.is_proven and report.kind == "unsubscribed" and row.can_unsubscribe and not is_about_other:
        unsubscribe(connection, row.to_address, kind=row.email_kind, email_id=row.id, now=now)
    if not report.is_proven or report.target is None:
        code = _CODES[report.kind] if report.is_proven else ReasonCode.REPORT_NOTED
        _append_note(connection, row.id, report, code, now=now)
        return
    if _change_state(connection, row.id, report, report.target, now=now):
        result.changes.append(FeedbackChange(email_id=row.id, state=report.target, report=report))
    else:
        _append_note(connection, row.id, report, ReasonCode.REPORT_NOTED, now=now)
    if not is_about_other:
        _suppress(connection, row, report, now=now)


def _change_state(
    connection: Connection, email_id: str, report: Report, target: State, *, now: datetime
) -> bool:
    code = _CODES[report.kind]
    # A bounce is why the email did not arrive.
    reason = Reason(code=code, text=report.summary) if target is State.BOUNCED else None
    changed = _state_change(target).run(
        connection,
        {
            "email_id": email_id,
            "reported_at": now,
            "why": reason and reason.text,
            "why_code": reason and reason.code,
        },
        text=report.summary,
        now=now,
        code=code,
        event={"code": report.reply.code, "worker": None},
    )
    return bool(changed)


@cache
def _state_change(target: State) -> StateChange:
    """Return the statement, built once: building it takes longer than running it."""
    values = {
        "error": bindparam("why", type_=emails.c.error.type),
        "reason_code": bindparam("why_code", type_=emails.c.reason_code.type),
        "sent_at": func.coalesce(emails.c.sent_at, bindparam("reported_at", type_=UtcDateTime)),
        "content": None,
    }
    return StateChange(and_(emails.c.id == bindparam("email_id"), _can_follow()), target, values=values)


def _append_note(
    connection: Connection, email_id: str, report: Report, code: ReasonCode, *, now: datetime
) -> None:
    """Append an event that changes no state; it repeats the state of now, not of when the email was read."""
    row = connection.execute(select(emails.c.state, emails.c.attempts).where(emails.c.id == email_id)).one()
    unproven = "" if report.is_proven else "; nothing proves it, so that it changes nothing"
    event = {
        "email_id": email_id,
        "at": now,
        "state": row.state,
        "attempt": row.attempts,
        "code": report.reply.code,
        "text": report.summary + unproven,
        "reason_code": code,
    }
    insert_rows(connection, events, [event])


def _suppress(connection: Connection, row: Row[Any], report: Report, *, now: datetime) -> None:
    """Suppress the address of the email after a hard bounce or a complaint."""
    is_complaint = report.target is State.COMPLAINED
    if not (report.is_hard or is_complaint):
        return
    entry = Suppression(
        address=row.to_address.lower(),
        reason=report.reply.text or report.summary,
        source=SuppressionSource.COMPLAINT if is_complaint else SuppressionSource.BOUNCE,
        code=report.reply.code,
        enhanced=report.reply.enhanced,
        actor=None,
        created_at=now,
        scope=SuppressionScope.OPTIONAL if is_complaint else SuppressionScope.ALL,
        email_id=row.id,
    )
    suppress(connection, entry)


def _is_about_other(row: Row[Any], report: Report) -> bool:
    """Whether a report names another recipient than that of the email."""
    recipient = report.recipient
    return recipient is not None and canonical_mailbox(recipient) != canonical_mailbox(row.to_address)


def _has_enough_unproven(connection: Connection, email_id: str) -> bool:
    unproven = select(func.count()).where(feedback.c.email_id == email_id, feedback.c.proof == UNPROVEN)
    return int(connection.execute(unproven).scalar_one()) >= _MAX_UNPROVEN


def _feedback_row(row: Row[Any], report: Report, *, now: datetime) -> dict[str, Any]:
    is_complaint = report.target is State.COMPLAINED
    return {
        "digest": report.digest,
        "email_id": row.id,
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
        "campaign": row.campaign if report.is_proven and (report.is_hard or is_complaint) else None,
    }


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
