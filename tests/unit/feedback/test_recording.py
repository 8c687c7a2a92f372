"""What reports mean, before they are recorded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.states import State
from mailctl.feedback import Feedback, FeedbackKind, Proof
from mailctl.feedback.recording import is_hard_bounce, report_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BOUNCE = Feedback(
    source="dsn",
    source_id="1",
    kind=FeedbackKind.BOUNCED,
    proof=Proof.VERIFIED,
    email_id="abc",
    smtp_code=550,
    enhanced_code="5.1.1",
    diagnostic="550 5.1.1 <zoe@example.com>: no such user\r\nhere\x00",
    remote_server="mx.example.net",
)


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "is_permanent", "expected"),
    [
        (550, "5.1.1", "no such user", None, True),
        (550, "5.1.1", "no such user", False, True),
        (None, "5.1.1", "", None, True),
        (552, "5.2.2", "mailbox full", True, False),
        (550, "5.7.1", "spam", True, False),
        (None, "4.4.7", "expired", None, False),
        (None, None, "", True, True),
        (None, None, "", None, False),
        (None, None, "", False, False),
    ],
)
def test_the_table_of_replies_tells_hard_bounces(
    code: int | None, enhanced: str | None, text: str, is_permanent: bool | None, expected: bool
) -> None:
    """The source decides only where the reply says nothing."""
    reply = SmtpReply(code=code, enhanced=enhanced, text=text)
    assert is_hard_bounce(reply, is_permanent=is_permanent) is expected


def test_a_summary_is_one_line_without_addresses() -> None:
    """What strangers say is shown on terminals and pages, and the address is in the log already."""
    report = report_of(BOUNCE)
    assert report.summary == "refused by mx.example.net: 550 5.1.1 <z…@example.com>: no such user here"
    assert (report.target, report.is_hard, report.is_proven) == (State.BOUNCED, True, True)


def test_codes_on_each_line_of_a_reply_are_no_words() -> None:
    """Programs join the lines; the table of replies would not recognise the wording."""
    text = (
        "550-5.2.1 The user you are trying to contact is receiving mail at a rate that"
        " 550-5.2.1 prevents additional messages from being delivered."
        " 550 5.2.1  https://support.example/ReceivingRatePerm 550 5.2.1"
    )
    report = report_of(replace(BOUNCE, enhanced_code="5.2.1", diagnostic=text))
    said = "The user you are trying to contact is receiving mail at a rate that prevents additional messages"
    assert report.reply.text == f"{said} from being delivered. https://support.example/ReceivingRatePerm"
    assert not report.is_hard


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FeedbackKind.DELIVERED, "delivered by mx.example.net"),
        (FeedbackKind.DELAYED, "delayed by mx.example.net"),
        (FeedbackKind.RELAYED, "relayed to mx.example.net"),
        (FeedbackKind.BOUNCED, "refused by mx.example.net"),
        (FeedbackKind.COMPLAINED, "marked as spam by its recipient"),
        (FeedbackKind.UNSUBSCRIBED, "its recipient unsubscribed"),
    ],
)
def test_each_kind_has_its_words(kind: FeedbackKind, expected: str) -> None:
    """Complaints and wishes come from recipients, not from servers."""
    item = replace(BOUNCE, kind=kind, smtp_code=None, enhanced_code=None, diagnostic="")
    assert report_of(item).summary == expected


def test_a_report_has_nothing_that_a_database_refuses() -> None:
    """A refusal would look like a log that is down, and the same message would come again for ever."""
    found = report_of(replace(BOUNCE, message_id="a\x00b@\udcff", recipient="z\x00\ud800oe@example.com"))
    assert (found.message_id, found.recipient) == ("<ab@>", "zoe@example.com")
    assert len(report_of(replace(BOUNCE, recipient="z" * 5000)).recipient or "") == 998


@pytest.mark.parametrize("code", ["5.1", "5.1.1.1", "x.y.z", "9.1.1", "", "5.1.1234567890", None])
def test_a_code_that_is_none_is_left_out(code: str | None) -> None:
    """Sources pass on whatever a server wrote."""
    assert report_of(replace(BOUNCE, enhanced_code=code)).reply.enhanced is None
    assert report_of(replace(BOUNCE, smtp_code=99999)).reply.code is None


@pytest.mark.parametrize(
    ("at", "is_kept"),
    [
        (NOW, True),
        (NOW + timedelta(hours=23), True),
        (NOW - timedelta(days=400), True),
        (NOW + timedelta(hours=25), False),
        (datetime.max.replace(tzinfo=UTC), False),
        (datetime.min.replace(tzinfo=UTC), False),
        (None, False),
    ],
)
def test_a_time_that_cannot_be_is_none(at: datetime | None, is_kept: bool) -> None:
    """Clocks differ, and strangers write any date; some have no time of day in any other zone."""
    assert report_of(replace(BOUNCE, at=at), now=NOW).at == (at if is_kept else None)
