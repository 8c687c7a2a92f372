"""What the fields of a delivery status notification say (RFC 3464)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mailctl.feedback.dsn import find_address, parse_date, read_status, split_codes
from mailctl.feedback.models import FeedbackKind
from tests.unit.feedback.mails import report

_OF_MESSAGE = "Reporting-MTA: dns; relay.example.org\n\n"


def fields(text: str) -> str:
    """Return the status of a report with one recipient."""
    return f"{_OF_MESSAGE}Final-Recipient: rfc822; zoe@example.com\n{text}"


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("failed", FeedbackKind.BOUNCED),
        ("Failed (bad destination)", FeedbackKind.BOUNCED),
        ("failure", FeedbackKind.BOUNCED),
        ("delayed", FeedbackKind.DELAYED),
        ("delivered", FeedbackKind.DELIVERED),
        ("relayed", FeedbackKind.RELAYED),
        ("expanded", FeedbackKind.DELIVERED),
    ],
)
def test_the_action_says_what_became_of_it(action: str, kind: FeedbackKind) -> None:
    """A comment may follow."""
    [verdict] = read_status(report(fields(f"Action: {action}\nStatus: 4.0.0")))
    assert verdict.kind is kind


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        ("5.1.1", [FeedbackKind.BOUNCED]),
        ("4.2.2 (mailbox full)", [FeedbackKind.DELAYED]),
        ("2.1.5", [FeedbackKind.DELIVERED]),
        ("none", []),
    ],
)
def test_without_an_action_the_class_of_the_status_says_it(status: str, kinds: list[FeedbackKind]) -> None:
    """Without either, nothing is said."""
    assert [each.kind for each in read_status(report(fields(f"Status: {status}")))] == kinds


@pytest.mark.parametrize(
    ("status", "diagnostic", "expected"),
    [
        ("5.1.1", "550 5.7.1 no", "5.1.1"),
        ("5.0.0", "550 5.7.1 no", "5.7.1"),
        ("", "550 5.7.1 no", "5.7.1"),
        ("5.0.0", "550 no", "5.0.0"),
    ],
)
def test_the_more_exact_status_counts(status: str, diagnostic: str, expected: str) -> None:
    """A program that knows no more than the class writes x.0.0, while the server has said why."""
    text = f"Action: failed\nStatus: {status}\nDiagnostic-Code: smtp; {diagnostic}"
    [verdict] = read_status(report(fields(text)))
    assert (verdict.enhanced_code, verdict.smtp_code) == (expected, 550)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Original-Recipient: rfc822;zoe@example.net\n", "zoe@example.net"),
        ("Original-Recipient: rfc822;zoe+2Bnews@example.com\n", "zoe+news@example.com"),
        ("Original-Recipient: rfc822;zoe+24@example.com\n", "zoe+24@example.com"),
        ("Original-Recipient: rfc822;zoe+BEEF@example.com\n", "zoe+BEEF@example.com"),
        ("Original-Recipient: unknown; nobody\n", "zoe@example.com"),
        ("", "zoe@example.com"),
    ],
)
def test_the_original_recipient_is_the_one_that_we_know(text: str, expected: str) -> None:
    """It may be xtext (RFC 3461 section 4), which encodes + and =; any other tag stays as it is."""
    [verdict] = read_status(report(fields(f"{text}Action: failed\nStatus: 5.1.1")))
    assert verdict.recipient == expected


@pytest.mark.parametrize(
    "text", ["a" * 400_000, "a@" * 200_000, "a@b" * 130_000 + " "], ids=["word", "at", "both"]
)
def test_an_address_is_looked_for_in_linear_time(text: str) -> None:
    """In quadratic time, one of these takes minutes."""
    assert find_address(f"{text};<zoe@example.com>") in ("zoe@example.com", text.strip())


class TestServer:
    """Which server said so."""

    def test_it_is_the_remote_one(self) -> None:
        """And without it the one that reports."""
        remote, none = (
            read_status(report(fields(f"{line}Action: failed\nStatus: 5.1.1")))[0].remote_server
            for line in ("Remote-MTA: dns; mx.example.net (198.51.100.7)\n", "")
        )
        assert (remote, none) == ("mx.example.net", "relay.example.org")

    def test_who_passes_an_email_on_does_not_have_it(self) -> None:
        """The server to which it went is not named then."""
        [verdict] = read_status(report(fields("Action: relayed\nStatus: 2.1.9")))
        assert verdict.remote_server is None

    def test_it_may_be_an_address(self) -> None:
        """In brackets, as in an envelope."""
        text = "Remote-MTA: dns; [2001:db8::7]\nAction: failed\nStatus: 5.1.1"
        assert read_status(report(fields(text)))[0].remote_server == "[2001:db8::7]"


def test_the_last_attempt_is_when_it_happened() -> None:
    """Programs that do not tell report at once."""
    tried, dated = "Tue, 3 Mar 2026 10:02:14 +0100", "Tue, 3 Mar 2026 12:00:00 +0000"
    headers = f"Date: {dated}\n"
    [first] = read_status(report(fields(f"Action: failed\nLast-Attempt-Date: {tried}"), headers=headers))
    [second] = read_status(report(fields("Action: failed"), headers=headers))
    assert first.at == datetime(2026, 3, 3, 9, 2, 14, tzinfo=UTC)
    assert second.at == datetime(2026, 3, 3, 12, 0, tzinfo=UTC)


def test_a_report_about_thousands_is_not_about_ours() -> None:
    """Twenty recipients are more than any email has."""
    groups = "\n\n".join(f"Final-Recipient: rfc822; u{n}@example.com\nAction: failed" for n in range(99))
    assert len(read_status(report(_OF_MESSAGE + groups))) == 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("550 5.1.1 no", (550, "5.1.1")),
        ("250 2.0.0 ok", (250, "2.0.0")),
        ("554-5.7.1 no", (554, "5.7.1")),
        ("mx.example.net[198.51.100.7] said: no", (None, None)),
        ("version 1.550 of 5.1", (None, None)),
        ("", (None, None)),
    ],
)
def test_codes_are_told_from_other_numbers(text: str, expected: tuple[int | None, str | None]) -> None:
    """Parts of addresses and versions are none."""
    assert split_codes(text) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "Tue, 99 Foo 20266 99:99:99 +9999", "\x00"])
def test_what_is_no_date_is_none(text: str) -> None:
    """Whatever strangers write."""
    assert parse_date(text) is None


def test_a_date_without_a_zone_is_in_utc() -> None:
    """Nothing else can be known of it."""
    assert parse_date("Tue, 3 Mar 2026 10:02:14") == datetime(2026, 3, 3, 10, 2, 14, tzinfo=UTC)
