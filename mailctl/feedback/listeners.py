"""Functions of the service that are called when this process records feedback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.plugins import summarize_error
from mailctl.redaction import masking_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mailctl.delivery_log.reports import RecordedReports

_log = masking_logger("mailctl.feedback")


@dataclass(frozen=True, kw_only=True)
class FeedbackEvent:
    """A new report about an email, as functions of the service get it.

    Args:
        email_id: the email's id, which `EmailService` has returned.
        kind: delivered, delayed, relayed, bounced, complained or unsubscribed.
        is_proven: whether a signature proves it; an unproven one has changed nothing.
        state: the new state of the email; None if the report did not change it.
        is_hard: whether no email can ever reach the mailbox; its address is suppressed then.
        source: where the report came from, such as `dsn`.
        at: when it happened by the clock of the source, aware; None if the source does not tell.
        smtp_code: reply code of the remote server; None if there was no reply.
        enhanced_code: enhanced status code (RFC 3463); None if there was none.
        text: the words of the remote server, one line; from strangers, with addresses masked.
        remote_server: the server that said so; None if the source does not tell.
    """

    email_id: str
    kind: str
    is_proven: bool
    state: str | None
    is_hard: bool
    source: str
    at: datetime | None
    smtp_code: int | None
    enhanced_code: str | None
    text: str
    remote_server: str | None


_listeners: list[Callable[[FeedbackEvent], object]] = []


def on_feedback(listener: Callable[[FeedbackEvent], object]) -> Callable[[FeedbackEvent], object]:
    """Register a function that is called with each new report that this process records; also a decorator.

    The function is called after the report is in the delivery log, once for each report, in the process that
    records it: the service itself, if it includes the routes for webhooks, or `mailctl feedback`, if
    MAILCTL_APP names the module that registers the function. What it raises is logged, and changes nothing.

    Args:
        listener: takes a `FeedbackEvent`; it should be quick.

    Returns:
        The same function.
    """
    if listener not in _listeners:
        _listeners.append(listener)
    return listener


def tell_listeners(result: RecordedReports) -> None:
    """Call the registered functions with the new reports."""
    if not _listeners:
        return
    states = {(change.email_id, change.report.digest): str(change.state) for change in result.changes}
    for email_id, report in result.new:
        event = FeedbackEvent(
            email_id=email_id,
            kind=str(report.kind),
            is_proven=report.is_proven,
            state=states.get((email_id, report.digest)),
            is_hard=report.is_hard,
            source=report.source,
            at=report.at,
            smtp_code=report.reply.code,
            enhanced_code=report.reply.enhanced,
            text=report.reply.text,
            remote_server=report.remote_server,
        )
        for listener in tuple(_listeners):
            _call(listener, event)


def _call(listener: Callable[[FeedbackEvent], object], event: FeedbackEvent) -> None:
    try:
        listener(event)
    except Exception as error:
        _log.error("a function registered with on_feedback failed: %s", summarize_error(error))
