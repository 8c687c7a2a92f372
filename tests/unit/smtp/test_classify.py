"""What replies mean: the table that decides whether an email is tried again."""

from __future__ import annotations

import pytest

from mailctl.domain.outcomes import Outcome, OutcomeKind, ReplyCategory, SmtpReply
from mailctl.smtp.classify import (
    MAX_TEXT_LENGTH,
    classify_reply,
    is_dead_mailbox,
    is_rate_limit,
    is_recipient_refusal,
    is_server_failure,
    is_unanswered,
    reply_category,
)

STAGES = ("connect", "tls", "auth", "mail", "rcpt", "data", "body")


@pytest.mark.parametrize(
    ("stage", "code", "text", "kind"),
    [
        ("connect", 554, "5.7.1 no service for you", "config"),
        ("tls", 502, "5.5.1 not implemented", "config"),
        ("tls", 454, "4.7.0 TLS not available", "deferred"),
        ("auth", 535, "5.7.8 wrong credentials", "config"),
        ("auth", 534, "5.7.9 application password required", "config"),
        ("auth", 454, "4.7.0 too many logins", "deferred"),
        ("mail", 530, "5.7.0 sign in first", "config"),
        ("mail", 550, "5.7.60 not allowed to send as this sender", "config"),
        ("mail", 553, "5.1.8 sender not verified", "config"),
        ("mail", 553, "sender refused", "config"),
        ("mail", 552, "5.3.4 too large", "refused"),
        ("mail", 523, "5.7.10 encryption needed", "config"),
        ("mail", 451, "4.3.0 later", "deferred"),
        ("rcpt", 451, "4.7.1 greylisted", "deferred"),
        ("rcpt", 452, "4.2.2 mailbox full", "deferred"),
        ("rcpt", 550, "5.1.1 no such user", "refused"),
        ("rcpt", 552, "5.2.2 mailbox full", "refused"),
        ("rcpt", 550, "5.4.5 daily limit exceeded", "config"),
        ("rcpt", 503, "5.5.1 MAIL first", "deferred"),
        ("data", 503, "5.5.1 RCPT first", "deferred"),
        ("data", 250, "a reply to something else", "deferred"),
        ("body", 250, "2.0.0 queued as 1", "accepted"),
        ("body", 451, "4.7.1 content filter", "deferred"),
        ("body", 554, "5.7.1 spam", "refused"),
        ("body", 554, "5.7.9 policy", "refused"),
        ("body", 354, "a reply to something else", "ambiguous"),
    ],
)
def test_stage_and_code_decide_what_a_reply_means(stage: str, code: int, text: str, kind: str) -> None:
    """The stage matters more than the code."""
    outcome = classify_reply(code, text, stage=stage)
    assert (outcome.kind, outcome.stage) == (kind, stage)


@pytest.mark.parametrize("stage", STAGES)
def test_421_means_later_at_every_stage(stage: str) -> None:
    """421 says that the server goes away, never that the email is bad."""
    assert classify_reply(421, "4.3.2 shutting down", stage=stage).kind is OutcomeKind.DEFERRED


@pytest.mark.parametrize("stage", STAGES)
def test_only_after_the_body_a_positive_reply_is_acceptance(stage: str) -> None:
    """250 before the body does not mean that anybody took the email."""
    assert (classify_reply(250, "ok", stage=stage).kind is OutcomeKind.ACCEPTED) == (stage == "body")


@pytest.mark.parametrize("stage", STAGES)
def test_an_unreadable_reply_leaves_doubt_only_after_the_body(stage: str) -> None:
    """Garbage before the body cannot have been an acceptance."""
    outcome = classify_reply(-1, "Malformed SMTP response line: zzz", stage=stage)
    expected = OutcomeKind.AMBIGUOUS if stage == "body" else OutcomeKind.DEFERRED
    assert (outcome.kind, outcome.reply.code) == (expected, None)


def test_the_lines_of_a_reply_become_one_without_the_enhanced_code() -> None:
    """The enhanced code has its own field and is not repeated in the text."""
    reply = classify_reply(550, "5.1.1 No such user\n5.1.1 See our page", stage="rcpt").reply
    assert reply == SmtpReply(code=550, enhanced="5.1.1", text="No such user See our page")


def test_an_enhanced_code_of_another_class_does_not_count() -> None:
    """RFC 2034: the class of the enhanced code is that of the reply."""
    assert classify_reply(550, "4.2.2 odd", stage="rcpt").reply.enhanced is None


def test_a_number_that_only_begins_like_an_enhanced_code_stays_text() -> None:
    """An address such as 5.6.7.8 is not a status."""
    reply = classify_reply(550, "5.6.7.8 is listed", stage="rcpt").reply
    assert (reply.enhanced, reply.text) == (None, "5.6.7.8 is listed")


def test_reply_text_holds_nothing_that_a_terminal_or_database_cannot_take() -> None:
    """Control characters, bidirectional controls and undecodable bytes become spaces."""
    text = "\x1b[31mred\x00 \u202eright \udcff\tend"
    assert classify_reply(550, text, stage="rcpt").reply.text == "[31mred right end"


def test_reply_text_is_cut() -> None:
    """A server may talk as long as it likes; we keep a sentence or two."""
    assert len(classify_reply(550, "x" * 5000, stage="rcpt").reply.text) == MAX_TEXT_LENGTH


@pytest.mark.parametrize(
    ("code", "enhanced", "category"),
    [
        (550, "5.1.1", "dead-mailbox"),
        (550, "5.1.2", "dead-mailbox"),
        (501, "5.1.3", "dead-mailbox"),
        (551, "5.1.6", "dead-mailbox"),
        (556, "5.1.10", "dead-mailbox"),
        (550, "5.2.1", "dead-mailbox"),
        (550, "5.4.1", "dead-mailbox"),
        (550, "5.1.0", "recipient"),
        (550, "5.1.4", "recipient"),
        (550, "5.1.9", "recipient"),
        (552, "5.2.2", "recipient"),
        (450, "4.1.1", "recipient"),
        (451, "4.2.1", "recipient"),
        (553, "5.1.8", "sender"),
        (550, "5.4.5", "quota"),
        (535, None, "credentials"),
        (554, "5.7.9", "credentials"),
        (550, "5.7.1", "policy"),
        (451, "4.7.1", "policy"),
        (550, None, "other"),
        (551, None, "other"),
        (553, None, "other"),
        (554, None, "other"),
        (None, None, "other"),
    ],
)
def test_the_enhanced_status_code_says_what_a_refused_recipient_is_about(
    code: int | None, enhanced: str | None, category: str
) -> None:
    """A bare code says too little: servers use 550 for unknown users and for policy."""
    assert reply_category(SmtpReply(code=code, enhanced=enhanced), stage="rcpt") == category


@pytest.mark.parametrize("reply", [SmtpReply(code=550), SmtpReply(code=550, enhanced="5.1.1")])
def test_a_refused_mail_command_is_about_the_sender(reply: SmtpReply) -> None:
    """No recipient was named yet, whatever the code says."""
    assert reply_category(reply, stage="mail") is ReplyCategory.SENDER
    assert not is_dead_mailbox(reply, stage="mail")


def test_a_refused_body_is_never_about_credentials() -> None:
    """The session was accepted before: 5.7.9 is then the server's policy for the message."""
    assert reply_category(SmtpReply(code=554, enhanced="5.7.9"), stage="body") is ReplyCategory.POLICY


def test_only_a_temporary_policy_is_a_rate_limit() -> None:
    """A permanent one will not heal with time."""
    assert is_rate_limit(SmtpReply(code=451, enhanced="4.7.1"), stage="rcpt")
    assert not is_rate_limit(SmtpReply(code=550, enhanced="5.7.1"), stage="rcpt")


def test_a_recipient_is_refused_at_rcpt_or_by_a_code_about_the_mailbox() -> None:
    """Some servers look at the recipient only after the body."""
    assert is_recipient_refusal(SmtpReply(code=554), stage="rcpt")
    assert is_recipient_refusal(SmtpReply(code=552, enhanced="5.2.2"), stage="body")
    assert not is_recipient_refusal(SmtpReply(code=554, enhanced="5.7.1"), stage="body")
    assert not is_recipient_refusal(SmtpReply(code=554, text="Message rejected as spam"), stage="rcpt")


@pytest.mark.parametrize("stage", STAGES)
def test_no_reply_before_a_recipient_was_named_is_the_failure_of_the_server(stage: str) -> None:
    """Later on, the checks of a recipient may be what is slow."""
    outcome = Outcome(kind=OutcomeKind.DEFERRED, stage=stage)
    assert is_server_failure(outcome) is (stage in ("connect", "tls", "auth", "mail"))
    assert is_unanswered(outcome)


@pytest.mark.parametrize(
    ("stage", "code", "text", "is_failure"),
    [
        ("auth", 454, "4.7.0 later", True),
        ("mail", 452, "4.3.1 Insufficient system storage", True),
        ("mail", 451, "4.3.0 later", True),
        ("mail", 421, "Service not available", True),
        ("mail", 450, "later", False),
        ("mail", 450, "4.7.1 rate limit exceeded", False),
        ("rcpt", 452, "4.3.1 Insufficient system storage", False),
        ("body", 451, "4.3.0 queue full", False),
        ("rcpt", 421, "4.3.2 shutting down", True),
        ("rcpt", 421, "4.7.0 too many messages", False),
        ("rcpt", 421, "Try again later", False),
    ],
)
def test_a_deferral_may_be_about_the_email_once_its_recipient_is_named(
    stage: str, code: int, text: str, is_failure: bool
) -> None:
    """At MAIL, a problem of the server concerns every email."""
    outcome = classify_reply(code, text, stage=stage)
    assert (is_server_failure(outcome), is_unanswered(outcome)) == (is_failure, False)


def test_a_problem_with_our_account_is_the_failure_of_the_server() -> None:
    """It concerns every email; settings that fail before a session was opened do not."""
    assert is_server_failure(classify_reply(550, "5.4.5 daily limit", stage="rcpt"))
    assert not is_server_failure(Outcome(kind=OutcomeKind.CONFIG))
    assert not is_server_failure(classify_reply(550, "5.1.1 no such user", stage="rcpt"))


def test_only_a_negative_reply_has_a_category() -> None:
    """An acceptance is about nothing."""
    assert classify_reply(250, "2.0.0 queued", stage="body").category is None
    assert classify_reply(-1, "garbage", stage="rcpt").category is None
    assert classify_reply(550, "5.1.1 no", stage="rcpt").category is ReplyCategory.DEAD_MAILBOX
