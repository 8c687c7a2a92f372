"""A received message is parsed as far as it can be, whatever is broken in it."""

from __future__ import annotations

import pytest

from mailctl.feedback.dsn import read_status
from mailctl.feedback.received_mail import FieldGroup, ReceivedMail, UnreadableMail
from tests.unit.feedback.mails import mail, report


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("rfc822; zoe@example.com", "zoe@example.com"),
        ("smtp;550 5.1.1 no; such user", "550 5.1.1 no; such user"),
        ("X-Postfix; unknown user", "unknown user"),
        ("550 5.1.1 User unknown; rejected", "550 5.1.1 User unknown; rejected"),
        ("plain", "plain"),
    ],
)
def test_a_field_is_read_without_its_type(value: str, expected: str) -> None:
    """A type is one word (RFC 3464 section 2.1.2); what some programs write instead is no type."""
    group = FieldGroup({"diagnostic-code": value})
    assert group.get("diagnostic-code") == expected
    assert group.raw("diagnostic-code") == value


def test_a_field_that_is_missing_is_empty() -> None:
    """Callers need no second question."""
    assert (FieldGroup({}).get("action"), FieldGroup({}).raw("action")) == ("", "")


class TestHeaders:
    """One line of text, however a header is folded and encoded."""

    @pytest.mark.parametrize(
        ("header", "expected"),
        [
            ("Subject: two\n lines", "two lines"),
            ("Subject: =?utf-8?q?Zur=C3=BCck?=", "Zurück"),
            ("Subject: =?nonsense?b?eA==?=", "=?nonsense?b?eA==?="),
            ("X: y", ""),
        ],
    )
    def test_a_header_is_decoded(self, header: str, expected: str) -> None:
        """As far as possible; in a charset that nobody knows it stays as it is."""
        assert mail(f"{header}\n\n").header("Subject") == expected

    def test_addresses_come_without_names(self) -> None:
        """What is no address is left out."""
        found = mail("To: Zoe <zoe@example.com>, nobody, max@example.com\n\n").addresses("To")
        assert found == ["zoe@example.com", "max@example.com"]

    @pytest.mark.parametrize(
        ("headers", "expected"),
        [("Return-Path: <>\n", True), ("Return-Path: <a@example.com>\n", False), ("", False)],
    )
    def test_a_null_sender_is_one_that_a_server_has_noted(self, headers: str, expected: bool) -> None:
        """A message without the header may have come from anybody."""
        assert mail(f"{headers}Subject: x\n\n").has_null_sender is expected

    @pytest.mark.parametrize("line", ["From MAILER-DAEMON Tue Mar  3\n", ">From a\n", "\n\n"])
    def test_the_line_of_a_pipe_or_an_mbox_is_no_header(self, line: str) -> None:
        """It comes before the message."""
        assert mail(f"{line}Subject: x\n\ntext").header("Subject") == "x"


class TestReports:
    """The parts of a multipart/report (RFC 6522)."""

    def test_the_groups_of_a_status_are_those_of_the_message_and_of_each_recipient(self) -> None:
        """Names of fields have no case, and their values may be folded."""
        found = report(
            "Reporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; a@example.com\n"
            "ACTION: failed\nDiagnostic-Code: smtp; 550 no\n such user\n\n"
            "Final-Recipient: rfc822; b@example.com\nAction: delayed"
        )
        assert found.report_type == "delivery-status"
        assert [group.get("final-recipient") for group in found.status_groups] == [
            "",
            "a@example.com",
            "b@example.com",
        ]
        assert found.status_groups[1].get("action") == "failed"
        assert found.status_groups[1].get("diagnostic-code") == "550 no such user"

    @pytest.mark.parametrize(
        ("encoding", "content"),
        [
            ("base64", "QWN0aW9uOiBmYWlsZWQKU3RhdHVzOiA1LjEuMQ=="),
            ("quoted-printable", "Action: fail=\ned\nStatus: 5.1=2E1"),
            ("7bit", "Action: failed\nStatus: 5.1.1"),
        ],
    )
    def test_a_status_is_read_however_it_is_encoded(self, encoding: str, content: str) -> None:
        """RFC 3464 allows 7bit alone; programs encode it all the same."""
        found = mail(
            f"Content-Type: message/delivery-status\nContent-Transfer-Encoding: {encoding}\n\n\n{content}\n"
        )
        [group] = found.status_groups
        assert (group.raw("action"), group.raw("status")) == ("failed", "5.1.1")

    def test_the_returned_message_comes_after_the_status(self) -> None:
        """A report that somebody forwards is itself a message in a message."""
        inner = (
            "Subject: failed\nContent-Type: multipart/report; boundary=i\n\n--i\n"
            "Content-Type: message/delivery-status\n\nAction: failed\n\n--i\n"
            "Content-Type: text/rfc822-headers\n\nMessage-ID: <ours@example.org>\n\n--i--\n"
        )
        found = mail(f"Content-Type: message/rfc822\n\n{inner}")
        assert found.returned is not None
        assert found.returned.raw("message-id") == "<ours@example.org>"

    def test_without_a_report_there_is_nothing_of_one(self) -> None:
        """Each question has an answer."""
        plain = mail("Subject: x\n\nhello")
        assert (plain.report_type, plain.status_groups, plain.returned) == ("", [], None)
        assert plain.feedback_group is None

    def test_an_abuse_report_without_fields_is_still_one(self) -> None:
        """Its type alone says that somebody complains."""
        found = mail("Content-Type: message/feedback-report\n\n\n")
        assert found.feedback_group == FieldGroup({})


class TestText:
    """What a message says to people."""

    def test_tags_are_left_out(self) -> None:
        """Bounces of some programs are HTML alone."""
        found = mail("Content-Type: text/html; charset=utf-8\n\n<p>no <b>such</b> user</p>")
        assert found.text.split() == ["no", "such", "user"]

    def test_the_text_of_the_returned_message_is_not_part_of_it(self) -> None:
        """Our own words prove nothing."""
        found = mail(
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nbounce\n"
            "--b\nContent-Type: message/rfc822\n\nSubject: ours\n\nours\n--b--\n"
        )
        assert found.text.split() == ["bounce"]

    @pytest.mark.parametrize("charset", ["nonsense", "utf-8", "idna"])
    def test_any_charset_is_read(self, charset: str) -> None:
        """What cannot be decoded is replaced."""
        raw = f"Content-Type: text/plain; charset={charset}\r\n\r\nno\xff user".encode("latin-1")
        assert ReceivedMail(raw).text.startswith("no")

    def test_words_that_an_encoding_has_broken_are_joined(self) -> None:
        """A token may be longer than a line."""
        assert "abcdef" in mail("Content-Transfer-Encoding: quoted-printable\n\nabc=\ndef").raw


class TestCost:
    """A message that somebody has made for it takes no longer to read than others of its size."""

    def test_a_long_value_is_cut(self) -> None:
        """Searching half a million letters for a host took hours, which nothing interrupts."""
        group = f"Final-Recipient: rfc822; zoe@example.com\nRemote-MTA: dns; {'a' * 500_000}"
        found = report(f"Reporting-MTA: dns; mx.example.net\n\n{group}\nStatus: 5.1.1")
        [verdict] = read_status(found)
        assert (verdict.recipient, verdict.remote_server) == ("zoe@example.com", None)

    @pytest.mark.parametrize("name", ["From", "Subject", "Return-Path"])
    def test_a_long_header_is_cut(self, name: str) -> None:
        """Words that seem to be encoded are searched for their end, each to the end of the header."""
        assert len(mail(f"{name}: " + "=?a?q?" * 80_000).header(name)) <= 2_000

    def test_a_long_text_is_decoded_as_far_as_it_is_read(self) -> None:
        """By a codec that takes quadratic time."""
        head = "From: a@example.com\nContent-Type: text/plain; charset=punycode\n\n"
        assert len(mail(head + "a-" + "z" * 400_000).text) <= 65_536

    @pytest.mark.parametrize(
        "level",
        ["Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n", "Content-Type: message/rfc822\n\n"],
    )
    @pytest.mark.parametrize("depth", [300, 1000, 5000])
    def test_what_is_nested_deeply_is_no_report(self, level: str, depth: int) -> None:
        """Each line would be compared with the boundary of each level."""
        with pytest.raises(UnreadableMail):
            mail("From: a@example.com\n" + "".join(level.format(n=n) for n in range(depth)))

    def test_a_message_of_many_parts_is_no_report(self) -> None:
        """Reports have three."""
        with pytest.raises(UnreadableMail):
            mail("Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n\n" * 60_000)

    @pytest.mark.parametrize("end", ["\n", "\r"])
    def test_of_very_many_lines_the_first_are_read(self, end: str) -> None:
        """Each takes time on each of the levels of nesting that are allowed, however short it is."""
        assert len(mail(f"From: a@example.com{end}{end}" + f"x{end}" * 100_000).raw.splitlines()) == 20_000
