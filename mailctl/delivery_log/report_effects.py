"""What new reports lead to: states of emails, events, suppressed addresses, unsubscribed recipients."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, func, or_, select

from mailctl.delivery_log.reports import FeedbackChange
from mailctl.delivery_log.storage.batches import batches, is_among
from mailctl.delivery_log.storage.raw_insert import insert_rows
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails, events
from mailctl.delivery_log.storage.utc_time import UtcDateTime
from mailctl.delivery_log.suppressions import Suppression, SuppressionScope, SuppressionSource, suppress
from mailctl.delivery_log.transitions import StateChange
from mailctl.delivery_log.unsubscribes import unsubscribe
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import ACCEPTED_STATES, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from mailctl.delivery_log.reports import RecordedReports, Report

#: The reason of the event of a proven report, by what it says.
_CODES: Mapping[str, ReasonCode] = {
    "delivered": ReasonCode.DELIVERY_REPORTED,
    "delayed": ReasonCode.DELAY_REPORTED,
    "relayed": ReasonCode.RELAY_REPORTED,
    "bounced": ReasonCode.BOUNCE_REPORTED,
    "complained": ReasonCode.COMPLAINT_REPORTED,
    "unsubscribed": ReasonCode.UNSUBSCRIBE_REPORTED,
}


@dataclass(frozen=True, kw_only=True)
class NewReport:
    """A report that was not known, and the email that it is about.

    Args:
        report: the report.
        email: the columns of the email that decide about its reports.
        is_about_other: whether the report names another recipient than that of the email.
        result: what became of the reports of its call, which its effects are added to.
    """

    report: Report
    email: Row[Any]
    is_about_other: bool
    result: RecordedReports


def can_follow() -> Any:
    """Return the condition that a report may change the state: a mail server has, or may have, the email."""
    ended = UNINDEXED_STATE.in_((*ACCEPTED_STATES, State.UNCONFIRMED))
    in_doubt = and_(emails.c.maybe_sent.is_(True), UNINDEXED_STATE.in_((State.HELD, State.FAILED)))
    return or_(ended, in_doubt)


def apply_reports(connection: Connection, new: Sequence[NewReport], *, now: datetime) -> None:
    """Change what new reports prove, and append an event for each, in a transaction of the caller.

    Args:
        new: the reports, in an order that is the same in every process: each locks the row of its email.
        now: the current time, aware.
    """
    for each in new:
        each.result.new.append((each.email.id, each.report))
    reports_of_emails = Counter(each.email.id for each in new)
    # Most reports say that an email arrived, and are the only ones about it: few statements serve them all.
    alike = [each for each in new if _is_delivery(each.report) and reports_of_emails[each.email.id] == 1]
    _deliver(connection, alike, now=now)
    applied = {each.email.id for each in alike}
    for each in new:
        if each.email.id not in applied:
            _apply(connection, each, now=now)


def _is_delivery(report: Report) -> bool:
    return report.is_proven and report.target is State.DELIVERED


def _deliver(connection: Connection, new: Sequence[NewReport], *, now: datetime) -> None:
    for some in batches(new):
        changed = _change_states(connection, some, State.DELIVERED, now=now)
        for each in some:
            if each.email.id not in changed:
                _append_note(connection, each, ReasonCode.REPORT_NOTED, now=now)


def _apply(connection: Connection, new: NewReport, *, now: datetime) -> None:
    """Change the state of the email if the report proves that, or else note the report in an event."""
    report, email = new.report, new.email
    if (
        report.is_proven
        and report.kind == "unsubscribed"
        and email.can_unsubscribe
        and not new.is_about_other
    ):
        unsubscribe(connection, email.to_address, kind=email.email_kind, email_id=email.id, now=now)
    if not report.is_proven or report.target is None:
        code = _CODES[report.kind] if report.is_proven else ReasonCode.REPORT_NOTED
        _append_note(connection, new, code, now=now)
        return
    if not _change_states(connection, [new], report.target, now=now):
        _append_note(connection, new, ReasonCode.REPORT_NOTED, now=now)
    if not new.is_about_other:
        _suppress(connection, new, now=now)


def _change_states(
    connection: Connection, new: Sequence[NewReport], target: State, *, now: datetime
) -> frozenset[str]:
    """Change states of emails, for the same reason if there are several; return the ids of those changed."""
    report = new[0].report
    code = _CODES[report.kind]
    # A bounce is why the email did not arrive.
    reason = Reason(code=code, text=report.summary) if target is State.BOUNCED else None
    by_id = {each.email.id: each for each in new}
    rows = _state_change(target).run(
        connection,
        {
            "ids": list(by_id),
            "reported_at": now,
            "why": reason and reason.text,
            "why_code": reason and reason.code,
        },
        text=report.summary,
        now=now,
        code=code,
        event={"worker": None},
        event_by_id={
            email_id: {"code": each.report.reply.code, "text": each.report.summary}
            for email_id, each in by_id.items()
        },
    )
    for row in rows:
        each = by_id[row.id]
        each.result.changes.append(FeedbackChange(email_id=row.id, state=target, report=each.report))
    return frozenset(row.id for row in rows)


@cache
def _state_change(target: State) -> StateChange:
    """Return the statement, built once: building it takes longer than running it."""
    values = {
        "error": bindparam("why", type_=emails.c.error.type),
        "reason_code": bindparam("why_code", type_=emails.c.reason_code.type),
        "sent_at": func.coalesce(emails.c.sent_at, bindparam("reported_at", type_=UtcDateTime)),
        "content": None,
    }
    is_one = is_among(emails.c.id, "ids")
    return StateChange(and_(is_one, can_follow()), target, values=values)


def _append_note(connection: Connection, new: NewReport, code: ReasonCode, *, now: datetime) -> None:
    """Append an event that changes no state; it repeats the state of now, not of when the email was read."""
    email_id, report = new.email.id, new.report
    row = connection.execute(select(emails.c.state, emails.c.attempts).where(emails.c.id == email_id)).one()
    unproven = "" if report.is_proven else "; nothing proves it, so it changes nothing"
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


def _suppress(connection: Connection, new: NewReport, *, now: datetime) -> None:
    """Suppress the address of the email after a hard bounce or a complaint."""
    report, email = new.report, new.email
    is_complaint = report.target is State.COMPLAINED
    if not (report.is_hard or is_complaint):
        return
    entry = Suppression(
        address=email.to_address.lower(),
        reason=report.reply.text or report.summary,
        source=SuppressionSource.COMPLAINT if is_complaint else SuppressionSource.BOUNCE,
        code=report.reply.code,
        enhanced=report.reply.enhanced,
        actor=None,
        created_at=now,
        scope=SuppressionScope.OPTIONAL if is_complaint else SuppressionScope.ALL,
        email_id=email.id,
    )
    suppress(connection, entry)
