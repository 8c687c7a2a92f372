"""Emails as JSON."""

from __future__ import annotations

from datetime import timedelta

from mailctl.delivery_log.queries.search import EmailPage
from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.states import State
from mailctl.views.emails import EmailPageView, EmailSummaryView, EmailView
from tests.emails import NOW, email

SUMMARY = {
    "task_id": "e1",
    "kind": "welcome",
    "user_id": "7",
    "to": "zoe@example.com",
    "state": "pending",
    "queue": "celery",
    "campaign": None,
}


def test_the_summary_says_what_was_recorded() -> None:
    """The state is its name."""
    assert EmailSummaryView.of(email()).as_json() == SUMMARY


def test_an_email_begins_with_its_summary() -> None:
    """The keys of the summary are the same, and come first."""
    printed = EmailView.of(email()).as_json()
    assert list(printed)[: len(SUMMARY)] == list(SUMMARY)
    assert printed.items() >= SUMMARY.items()


def test_a_deferred_email_has_its_reply_and_its_next_attempt() -> None:
    """A reply without text has null instead of an empty text."""
    deferred = email(
        State.DEFERRED,
        not_before=NOW + timedelta(minutes=5),
        reply=SmtpReply(code=451, enhanced="4.7.1"),
        error="greylisted",
    )
    printed = EmailView.of(deferred).as_json()
    assert printed["next_attempt_at"] == "2026-03-01T12:05:00Z"
    assert printed["smtp"] == {"code": 451, "enhanced": "4.7.1", "text": None, "queue_id": None}
    assert printed["error"] == "greylisted"


def test_the_last_page_has_no_cursor() -> None:
    """Another page has the value for `after`."""
    page = EmailPage(emails=(email(),), cursor=None)
    assert EmailPageView.of(page).as_json() == {"emails": [EmailView.of(email()).as_json()], "next": None}
