"""Bounces whose text alone says what happened."""

from __future__ import annotations

import pytest

from mailctl.feedback.models import FeedbackKind
from mailctl.feedback.nonstandard_bounces import is_bounce, read_text
from tests.unit.feedback.mails import mail

_QMAIL = "Hi. This is the qmail-send program at example.net.\nI'm afraid I wasn't able to deliver it.\n\n"


@pytest.mark.parametrize(
    ("headers", "text", "expected"),
    [
        ("X-Failed-Recipients: zoe@example.com\n", "x", True),
        ("From: MAILER-DAEMON@example.net\nSubject: failure notice\n", "x", True),
        ("Return-Path: <>\nSubject: Undeliverable: Hi\n", "x", True),
        ("From: MAILER-DAEMON@example.net\nSubject: x\n", _QMAIL, True),
        ("From: max@example.com\nSubject: Fwd: failure notice\n", _QMAIL, False),
        ("From: MAILER-DAEMON@example.net\nSubject: Your statistics\n", "All is well.", False),
    ],
)
def test_a_bounce_comes_from_a_program_and_says_so(headers: str, text: str, expected: bool) -> None:
    """A person may forward or discuss one."""
    assert is_bounce(mail(f"{headers}\n{text}")) is expected


class TestReply:
    """The reply of a server that a bounce quotes."""

    def test_it_comes_with_the_lines_that_continue_it(self) -> None:
        """Until an empty line."""
        verdict = read_text(mail(f"\n{_QMAIL}<zoe@example.com>:\n> 550 5.1.1 No such\n  user here\n\nBye.\n"))
        assert verdict.diagnostic == "550 5.1.1 No such user here"
        assert (verdict.smtp_code, verdict.enhanced_code) == (550, "5.1.1")

    def test_a_reply_code_says_more_than_a_status_alone(self) -> None:
        """Programs write their own status in parentheses."""
        text = f"\n{_QMAIL}Sorry. (#5.1.2)\nthe server said: 452 4.2.2 full\n"
        assert read_text(mail(text)).diagnostic.endswith("452 4.2.2 full")

    def test_what_the_returned_message_says_is_none(self) -> None:
        """Our own text may contain any number."""
        quote = "--- Below this line is a copy of the message.\n\nYour order 550 is ready.\n"
        verdict = read_text(mail(f"\n{_QMAIL}Sorry, no mailbox here by that name. (#5.1.1)\n\n{quote}"))
        assert (verdict.smtp_code, verdict.enhanced_code) == (None, "5.1.1")

    def test_the_server_is_the_one_that_is_named_beside_it(self) -> None:
        """With or without brackets."""
        verdict = read_text(mail(f"\n{_QMAIL}host mx.example.net [198.51.100.7] said: 550 no\n"))
        assert verdict.remote_server == "mx.example.net"


@pytest.mark.parametrize(
    ("text", "kind", "is_permanent"),
    [
        ("550 no such user", FeedbackKind.BOUNCED, True),
        ("452 mailbox full", FeedbackKind.BOUNCED, False),
        ("The mailbox is full.", FeedbackKind.BOUNCED, False),
        ("No such user here.", FeedbackKind.BOUNCED, True),
        ("Something went wrong.", FeedbackKind.BOUNCED, None),
        ("It will be retried. 451 try later", FeedbackKind.DELAYED, None),
        ("It will be retried elsewhere. 550 no", FeedbackKind.BOUNCED, True),
    ],
)
def test_codes_decide_and_then_words(text: str, kind: FeedbackKind, is_permanent: bool | None) -> None:
    """A text may say that it is tried again and quote a refusal for good: then it is one."""
    verdict = read_text(mail(f"Subject: x\n\n{text}\n"))
    assert (verdict.kind, verdict.is_permanent) == (kind, is_permanent)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("X-Failed-Recipients: zoe@example.com\n\nto max@example.com", "zoe@example.com"),
        ("Subject: x\n\n<max@example.com>: no", "max@example.com"),
        ("Subject: x\n\nno", None),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nnot max@example.com\n--b\n"
            "Content-Type: message/rfc822\n\nTo: Zoe <zoe@example.com>\n\nhi\n--b--\n",
            "zoe@example.com",
        ),
    ],
)
def test_the_recipient_is_looked_for_where_it_is_surest(message: str, expected: str | None) -> None:
    """In the header for it, the returned message, the text."""
    assert read_text(mail(message)).recipient == expected
