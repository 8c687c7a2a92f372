"""The cause of a failed attempt, from its facts alone."""

from __future__ import annotations

import pytest

from mailctl.diagnosis.attempt_causes import cause_of_attempt, cause_of_server_failure
from mailctl.diagnosis.failures import cause_of_failure
from mailctl.domain.outcomes import ReplyCategory, SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.shell_command import sharing_options
from mailctl.domain.states import State

NONE = SmtpReply()
LATER = SmtpReply(code=451, enhanced="4.3.0", text="try again later")


@pytest.mark.parametrize(
    ("code", "stage", "reply", "name"),
    [
        (ReasonCode.INTERRUPTED, "body", NONE, "interrupted"),
        (ReasonCode.NO_REPLY, "body", NONE, "no_reply"),
        (ReasonCode.CONFIGURATION, "auth", SmtpReply(code=535, enhanced="5.7.8", text="bad"), "smtp_auth"),
        (ReasonCode.DEFERRED, "tls", NONE, "smtp_tls"),
        (
            ReasonCode.DEFERRED,
            "connect",
            SmtpReply(code=421, text="too many connections"),
            "too_many_connections",
        ),
        (ReasonCode.DEFERRED, "connect", NONE, "mail_server_down"),
        (
            ReasonCode.DEFERRED,
            "rcpt",
            SmtpReply(code=450, enhanced="4.7.1", text="greylisted"),
            "rate_limited",
        ),
        (ReasonCode.CONFIGURATION, "mail", LATER, "sender_refused"),
        (ReasonCode.CONFIGURATION, None, NONE, "our_settings"),
        (ReasonCode.DEFERRED, "mail", NONE, "session_failed"),
        (ReasonCode.DEFERRED, "rcpt", LATER, "mail_server_later"),
    ],
)
def test_an_attempt_has_one_cause(code: ReasonCode, stage: str | None, reply: SmtpReply, name: str) -> None:
    """The reason code decides first, then the stage, then the reply."""
    assert cause_of_attempt(code, stage=stage, reply=reply).name == name


@pytest.mark.parametrize(
    ("stage", "category", "name"),
    [
        ("auth", None, "smtp_auth"),
        ("tls", None, "smtp_tls"),
        ("connect", None, "mail_server_down"),
        (None, None, "mail_server_down"),
        ("mail", ReplyCategory.HELO, "helo_refused"),
        ("rcpt", ReplyCategory.POLICY, "refused_for_all"),
    ],
)
def test_a_mail_server_that_cannot_be_used_has_one_cause(
    stage: str | None, category: ReplyCategory | None, name: str
) -> None:
    """What its reply is about decides, then the stage."""
    assert cause_of_server_failure(stage, category=category).name == name


def test_settings_are_those_of_the_start_of_the_worker() -> None:
    """`check-config`, the next step, reads the corrected ones and has no objection."""
    cause = cause_of_attempt(ReasonCode.CONFIGURATION, stage=None, reply=NONE)
    assert "that the worker read when it started" in cause.sentence


def test_the_next_step_repeats_the_options_of_the_call() -> None:
    """And not those of the call that was the first to import the module."""
    with sharing_options(env_file="prod.env"):
        causes = (
            cause_of_attempt(ReasonCode.INTERRUPTED, stage="body", reply=NONE),
            cause_of_failure(State.FAILED, ReasonCode.UNREADABLE_CONTENT, stage="", reply=NONE),
        )
    assert [str(cause.next_step) for cause in causes] == [
        "mailctl --env-file prod.env check-config",
        "mailctl --env-file prod.env check-config",
    ]
