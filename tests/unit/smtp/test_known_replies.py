"""The table of what mail servers say: each reply of it is a test, with the place where it is public."""

from __future__ import annotations

import pytest

from mailctl.diagnosis.our_faults import find_our_fault
from mailctl.domain.outcomes import (
    OPEN_CATEGORIES,
    OUR_FAULTS,
    Outcome,
    OutcomeKind,
    ReplyCategory,
    SmtpReply,
)
from mailctl.smtp.classify import (
    classify_reply,
    is_dead_mailbox,
    is_server_failure,
    leaves_fault_open,
    one_line,
    reply_category,
)
from mailctl.smtp.known_replies import KnownReply, find_protocol, is_about_domain, known_replies

REPLIES = known_replies()
#: What a refusal means for the email, by what it is about.
VERDICTS = {
    **dict.fromkeys(OUR_FAULTS, "ours: waits for the fix"),
    ReplyCategory.QUOTA: "ours: waits for the quota",
    **dict.fromkeys((ReplyCategory.RATE, ReplyCategory.CONNECTIONS), "ours: less at a time"),
    ReplyCategory.GREYLISTING: "the server: later",
    ReplyCategory.SERVER: "the server: later",
    ReplyCategory.CONTENT: "the message",
    **dict.fromkeys((ReplyCategory.DEAD_MAILBOX, ReplyCategory.RECIPIENT), "the recipient"),
}


def outcome_of(known: KnownReply) -> Outcome:
    return classify_reply(known.code, known.lines, stage=known.stage)


def name_of(known: KnownReply) -> str:
    return f"{known.provider}-{known.stage}-{known.text[:40]}"


@pytest.mark.parametrize("known", REPLIES, ids=name_of)
def test_a_known_reply_is_about_what_the_table_says(
    known: KnownReply, record_property: pytest.FixtureRequest
) -> None:
    """As it comes over the wire, and as the delivery log keeps it."""
    outcome = outcome_of(known)
    assert outcome.category is known.category
    assert reply_category(outcome.reply, stage=known.stage) is known.category
    assert known.source.startswith(("https://", "http://"))
    row = (
        f"{known.provider}, {known.stage}",
        one_line(known.text)[:70],
        VERDICTS[known.category],
        known.source,
    )
    record_property("replies", row)  # type: ignore[operator]


@pytest.mark.parametrize("known", [each for each in REPLIES if each.is_about_domain], ids=name_of)
def test_a_reply_about_a_domain_is_recognised(known: KnownReply) -> None:
    """Once the server knows the recipient; at MAIL it can only mean all email."""
    reply = outcome_of(known).reply
    assert is_about_domain(reply, stage=known.stage)
    assert not is_about_domain(reply, stage="mail")


def test_most_refusals_of_a_rate_are_about_the_server() -> None:
    """A relay speaks for itself."""
    of_rate = [each for each in REPLIES if each.category is ReplyCategory.RATE]
    relays = [each for each in of_rate if each.provider in ("Amazon SES", "Google relay", "Postfix")]
    assert relays
    assert not any(is_about_domain(outcome_of(each).reply, stage=each.stage) for each in relays)


def test_the_table_is_large_enough_and_names_each_reply_once() -> None:
    """A hundred and twenty at least."""
    assert len({(each.stage, each.text) for each in REPLIES}) == len(REPLIES) >= 120


@pytest.mark.parametrize("known", [each for each in REPLIES if each.category in OUR_FAULTS], ids=name_of)
def test_a_fault_of_ours_fails_no_email(known: KnownReply) -> None:
    """Whatever its code and stage: it waits, suppresses nobody, and `why` says which setting is meant."""
    outcome = outcome_of(known)
    assert outcome.kind in (OutcomeKind.CONFIG, OutcomeKind.DEFERRED)
    if outcome.kind is OutcomeKind.CONFIG:
        assert is_server_failure(outcome)
    assert not is_dead_mailbox(outcome.reply, stage=known.stage)
    assert find_our_fault(outcome.category) is not None


@pytest.mark.parametrize(
    ("stage", "code", "text"),
    [
        ("rcpt", 550, "no"),
        (
            "rcpt",
            550,
            "Requested action not taken: mailbox unavailable\nFailure sending mail. Try again later",
        ),
        ("rcpt", 554, "5.7.1 rejected"),
        ("body", 554, "5.7.1 Delivery not authorized, message refused"),
        ("body", 550, "Administrative prohibition"),
    ],
)
def test_what_could_be_anybodys_fault_stays_open(stage: str, code: int, text: str) -> None:
    """The email fails, but if everybody is refused alike, it is ours."""
    outcome = classify_reply(code, text, stage=stage)
    assert (outcome.kind, outcome.category in OPEN_CATEGORIES) == (OutcomeKind.REFUSED, True)
    assert leaves_fault_open(outcome)


@pytest.mark.parametrize(
    "known", [each for each in REPLIES if each.category not in OPEN_CATEGORIES], ids=name_of
)
def test_what_the_table_knows_does_not_stay_open(known: KnownReply) -> None:
    """It is never held against us that a dead mailbox is dead."""
    assert not leaves_fault_open(outcome_of(known))


def test_the_same_words_mean_the_sender_when_the_sender_is_named() -> None:
    """No recipient was named yet, whatever the server says of a user."""
    assert classify_reply(550, "5.1.1 User unknown", stage="mail").category is ReplyCategory.SENDER
    assert classify_reply(550, "5.1.1 User unknown", stage="rcpt").category is ReplyCategory.DEAD_MAILBOX


def test_the_code_of_qmail_at_the_end_counts() -> None:
    """It writes it in parentheses."""
    reply = classify_reply(550, "sorry, no mailbox here (#5.1.1)", stage="rcpt").reply
    assert reply == SmtpReply(code=550, enhanced="5.1.1", text="sorry, no mailbox here (#5.1.1)")


@pytest.mark.parametrize(
    ("greeting", "protocol"),
    [
        ("* OK [CAPABILITY IMAP4rev1] Dovecot ready.", "IMAP"),
        ("+OK POP3 ready <1896.697@example.org>", "POP3"),
        ("HTTP/1.1 400 Bad Request", "HTTP"),
        ("SSH-2.0-OpenSSH_9.6", "SSH"),
        ("220 mail.example.org ESMTP Postfix", None),
        ("Welcome", None),
    ],
)
def test_other_protocols_are_known_by_their_greeting(greeting: str, protocol: str | None) -> None:
    """A wrong EMAIL_PORT is told at once."""
    assert find_protocol(greeting) == protocol
