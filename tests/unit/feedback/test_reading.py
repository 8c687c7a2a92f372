"""What mail says: bounces in the forms of many programs, automatic replies, complaints and forgeries."""

from __future__ import annotations

import random

import pytest

from mailctl.delivery_log.reports import FeedbackResult
from mailctl.feedback.models import FeedbackKind, Proof
from mailctl.feedback.reading import ARF_SOURCE, DSN_SOURCE, read_mail
from mailctl.feedback.received_mail import MAX_OCTETS
from mailctl.feedback.recording import report_of
from tests.feedback_mail import BOUNCES, EMAIL_ID, MESSAGE_ID, Sample, samples

BOUNCE_SAMPLES, AUTO_REPLIES, COMPLAINTS = (
    samples(name) for name in ("bounces", "auto_replies", "complaints")
)
UNKNOWN_USER = next(each for each in BOUNCE_SAMPLES if each.name == "postfix-unknown-user")
#: Letters of base32 in lower case.
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def test_the_corpora_are_large_enough() -> None:
    """A file that is cut short proves nothing."""
    assert (len(BOUNCE_SAMPLES) >= 60, len(AUTO_REPLIES) >= 15, len(COMPLAINTS) >= 10) == (True,) * 3


@pytest.mark.parametrize("sample", BOUNCE_SAMPLES, ids=str)
def test_a_bounce_has_its_verdict(sample: Sample) -> None:
    """What is reported, with which codes, and whether the mailbox is dead."""
    reading = read_mail(sample.mail(), bounces=BOUNCES)
    if sample.verdict == "ignored":
        assert (reading.items, reading.rejected) == ((), FeedbackResult.IGNORED)
        return
    [item] = reading.items
    report = report_of(item)
    hardness = "hard" if report.is_hard else "soft"
    said = (report.kind, report.reply.code or "-", report.reply.enhanced or "-", hardness)
    assert " ".join(map(str, said)) == sample.verdict
    assert (item.source, item.proof, item.email_id) == (DSN_SOURCE, Proof.VERIFIED, EMAIL_ID)


@pytest.mark.parametrize("sample", AUTO_REPLIES, ids=str)
def test_an_automatic_reply_says_nothing(sample: Sample) -> None:
    """Although it comes to the bounce address, with the token, and may quote anything."""
    reading = read_mail(sample.mail(), bounces=BOUNCES)
    assert (reading.items, reading.rejected) == ((), FeedbackResult.IGNORED)


@pytest.mark.parametrize("sample", COMPLAINTS, ids=str)
def test_a_complaint_has_its_verdict(sample: Sample) -> None:
    """Proven by the token in the returned message."""
    reading = read_mail(sample.mail(), bounces=BOUNCES)
    assert reading.source == ARF_SOURCE
    said = [f"{item.kind} {item.proof}" for item in reading.items] or [str(reading.rejected)]
    assert said == [sample.verdict]


@pytest.mark.parametrize("sample", BOUNCE_SAMPLES, ids=str)
def test_without_a_token_nothing_is_proven(sample: Sample) -> None:
    """A Message-ID is no secret."""
    text = sample.mail(token="").replace(b"bounces+@bounce.example.org", b"noreply@example.org")
    for item in read_mail(text, bounces=BOUNCES).items:
        assert (item.proof, item.email_id) == (Proof.LIKELY, None)
        assert item.message_id in (MESSAGE_ID, None)
    for item in read_mail(sample.mail(), bounces=None).items:
        assert item.proof is Proof.LIKELY


def test_the_returned_message_tells_the_message_id() -> None:
    """In a part of its own, or in the text of the bounce."""
    for name in ("postfix-unknown-user", "qmail-no-mailbox", "sendmail-ancient"):
        sample = next(each for each in BOUNCE_SAMPLES if each.name == name)
        [item] = read_mail(sample.mail(), bounces=None).items
        assert item.message_id == MESSAGE_ID


def test_of_ten_thousand_forged_tokens_none_is_accepted() -> None:
    """Random ones, and real ones with one letter changed, moved, cut or repeated."""
    chance, real = random.Random(26), BOUNCES.token(EMAIL_ID)
    accepted = 0
    for number in range(10_000):
        forged = _forge(real, number, chance)
        accepted += forged != real and BOUNCES.email_id(forged) is not None
    assert accepted == 0


def _forge(real: str, number: int, chance: random.Random) -> str:
    place = chance.randrange(len(real))
    match number % 4:
        case 0:
            return "".join(chance.choices(_ALPHABET, k=len(real)))
        case 1:
            return real[:place] + chance.choice(_ALPHABET) + real[place + 1 :]
        case 2:
            return real[place:] + real[:place] if place else real + "a"
        case _:
            return real[: place or 1] if number % 8 > 4 else real[:place] + real[place : place + 1] * 2


@pytest.mark.parametrize("token", ["a" * 44, BOUNCES.token(EMAIL_ID)[:-1] + "0", "x", "a" * 64])
def test_a_forged_token_makes_a_bounce_worthless(token: str) -> None:
    """It is not even likely."""
    reading = read_mail(UNKNOWN_USER.mail(token=token), bounces=BOUNCES)
    assert (reading.items, reading.rejected) == ((), FeedbackResult.FORGED)


def test_the_envelope_recipient_has_the_token() -> None:
    """A pipe transport passes it on; the message itself may not have it."""
    text = UNKNOWN_USER.mail(token="").replace(b"bounces+@bounce.example.org", b"x@example.org")
    [item] = read_mail(text, bounces=BOUNCES, recipient=BOUNCES.sender(EMAIL_ID).upper()).items
    assert (item.proof, item.email_id) == (Proof.VERIFIED, EMAIL_ID)


def test_the_same_report_has_the_same_id() -> None:
    """Through another mailbox, with other headers of transport; a report about another email has another."""
    first = UNKNOWN_USER.mail()
    again = b"Received: by mx2.example.org\nDelivered-To: x\n" + first
    other = UNKNOWN_USER.mail(token=BOUNCES.token("0195a1b2-c3d4-4e5f-8a9b-000000000000"))
    ids = [read_mail(data, bounces=BOUNCES).items[0].source_id for data in (first, again, other)]
    assert ids[0] == ids[1] != ids[2]


def test_a_proven_report_about_several_recipients_counts_with_the_worst() -> None:
    """An email has one recipient; a list behind it may have many."""
    sample = next(each for each in BOUNCE_SAMPLES if each.name == "two-recipients-of-a-list")
    [item] = read_mail(sample.mail(), bounces=BOUNCES).items
    assert item.kind is FeedbackKind.BOUNCED


def test_what_is_too_large_is_not_read() -> None:
    """Nobody reports so much."""
    data = UNKNOWN_USER.mail() + b"x" * MAX_OCTETS
    assert read_mail(data, bounces=BOUNCES).rejected is FeedbackResult.OVERSIZED


@pytest.mark.parametrize("sample", [*BOUNCE_SAMPLES[::6], *COMPLAINTS[::3]], ids=str)
def test_damage_never_raises(sample: Sample) -> None:
    """Whatever strangers send, at whichever octet it ends or breaks."""
    data, chance = sample.mail(), random.Random(sample.name)
    for _ in range(40):
        place = chance.randrange(len(data))
        for damaged in (data[:place], data[:place] + chance.randbytes(9) + data[place:]):
            read_mail(damaged, bounces=BOUNCES)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"\xff" * 1000,
        b"Content-Type: multipart/report; boundary=\n\n--\n",
        b"Content-Type: message/rfc822\n\n" * 4000,
        b"Subject: =?x?B?" + b"=" * 5000 + b"?=\n\n",
    ],
)
def test_rubbish_is_no_report(data: bytes) -> None:
    """It is counted and forgotten."""
    reading = read_mail(data, bounces=BOUNCES)
    assert reading.items == ()
    assert reading.rejected in (FeedbackResult.IGNORED, FeedbackResult.MALFORMED)


#: Half a million characters, the name of the field or header before them, and what they are.
ENDLESS = {
    "Final-Recipient": "a",
    "Remote-MTA": "a",
    "Original-Rcpt-To": "a",
    "From": "(",
    "Subject": "=?",
    "Date": "9",
    'Content-Type: multipart/report; "': ";",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_field_without_end_is_read_in_linear_time(name: str) -> None:
    """In quadratic time, such a message takes from minutes to hours."""
    endless = f"{name}: " + ENDLESS[name] * (500_000 // len(ENDLESS[name]))
    for kind, field in (("delivery-status", "Action: failed"), ("feedback-report", "Feedback-Type: abuse")):
        message = (
            f"{endless}\nContent-Type: multipart/report; report-type={kind}; boundary=b\n\n"
            f"--b\nContent-Type: message/{kind}\n\n{field}\n{endless}\n\n--b--\n"
        )
        read_mail(message.encode(), bounces=BOUNCES)
        read_mail(message.removeprefix(endless).lstrip().encode(), bounces=BOUNCES)
