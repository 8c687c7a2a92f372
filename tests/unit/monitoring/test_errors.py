"""Failures and deferrals in groups."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mailctl.delivery_log.queries.failed_attempts import FailedAttempt
from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.monitoring.errors import ErrorGroup, ErrorTrend, find_trend, group_errors
from tests.emails import NOW

SINCE = NOW - timedelta(hours=1)
NO_MAILBOX = SmtpReply(code=550, enhanced="5.1.1", text="<zoe@example.com> no such mailbox")
SLOW_DOWN = SmtpReply(code=451, enhanced="4.7.1", text="too many messages, slow down")


def attempt(number: int, *, minutes: float = 1, **more: Any) -> FailedAttempt:
    """Return a failed attempt some minutes ago."""
    fields: dict[str, Any] = {
        "email_id": f"id-{number}",
        "state": State.FAILED,
        "state_now": State.FAILED,
        "reason_code": ReasonCode.REFUSED,
        "stage": "rcpt",
        "reply": NO_MAILBOX,
        "text": "refused",
        "recipient": "zoe@example.com",
        "kind": "welcome",
        "queue": "celery",
        "campaign": None,
    }
    return FailedAttempt(at=NOW - timedelta(minutes=minutes), **{**fields, **more})


def deferred(number: int, **more: Any) -> FailedAttempt:
    """Return an attempt that the mail server has deferred."""
    fields = {"state": State.DEFERRED, "state_now": State.DEFERRED, "reason_code": ReasonCode.DEFERRED}
    return attempt(number, **{**fields, "reply": SLOW_DOWN, **more})


def groups(*attempts: FailedAttempt) -> list[ErrorGroup]:
    """Return the groups of attempts in the last hour."""
    return group_errors(attempts, since=SINCE, now=NOW)


def test_attempts_and_emails_are_counted() -> None:
    """The largest group comes first; an email that was tried twice is one."""
    first, second = groups(
        deferred(1), deferred(1, minutes=2), deferred(2, minutes=3, state_now=State.SENT), attempt(3)
    )
    assert (first.attempts, first.emails, first.waiting, first.failed) == (3, 2, 1, 0)
    assert (first.first_at, first.last_at) == (NOW - timedelta(minutes=3), NOW - timedelta(minutes=1))
    assert (second.attempts, second.emails, second.waiting, second.failed) == (1, 1, 0, 1)
    assert (first.sample_ids, second.sample_ids) == (("id-1", "id-2"), ("id-3",))


def test_an_email_waits_because_of_its_last_failure_alone() -> None:
    """An earlier one is over, as when the mail server works again and says something else."""
    down = SmtpReply(text="connection refused")
    later, earlier = groups(deferred(1), deferred(1, minutes=3, reply=down, stage="connect"))
    assert (later.reply, later.waiting) == (SLOW_DOWN, 1)
    assert (earlier.reply, earlier.emails, earlier.waiting) == (down, 1, 0)
    later, earlier = groups(attempt(1), deferred(1, minutes=3, state_now=State.FAILED))
    assert ({later.failed, earlier.failed}, later.waiting, earlier.waiting) == ({0, 1}, 0, 0)


def test_a_group_names_cause_kinds_and_words() -> None:
    """Addresses are masked, the most frequent kind is first."""
    [group] = groups(attempt(1, kind="reset"), attempt(2), attempt(3, kind="reset"))
    assert group.cause.name == "recipient_refused"
    assert group.kinds == ("reset", "welcome")
    assert "zoe@example.com" not in group.text
    assert "no such mailbox" in group.text


def test_the_words_of_an_event_are_not_given_its_code_twice() -> None:
    """The email has another reply by now, as after a bounce: the event tells of the one before."""
    text = "refused by mx.example.net: 550 5.1.1 unknown user"
    [group] = groups(attempt(1, reply=SmtpReply(code=550, text=text), text=text))
    assert group.text == text


@pytest.mark.parametrize(
    ("one", "command"),
    [
        (attempt(1), "mailctl list --state failed --error '550 5.1.1' --since 24h"),
        (attempt(1, reply=SmtpReply(code=554, enhanced="5.6.0", text="no"), stage="body"), "mailctl list"),
        (deferred(1), "mailctl list --state deferred --error '451 4.7.1' --since 24h"),
        (deferred(1, reply=SmtpReply(), stage="connect"), "mailctl check-config"),
        (deferred(1, reason_code=ReasonCode.UNREADABLE_CONTENT, reply=SmtpReply()), "mailctl check-config"),
    ],
)
def test_one_command_deals_with_a_group(one: FailedAttempt, command: str) -> None:
    """What its cause needs, or else its emails."""
    [group] = groups(one)
    assert str(group.command).startswith(command)


def test_the_commands_for_a_campaign_concern_only_its_emails() -> None:
    """Others may have failed in the same way."""
    attempts = [attempt(1, campaign="spring"), deferred(2, campaign="spring", reply=SmtpReply())]
    found = group_errors(attempts, since=SINCE, now=NOW, campaign="spring")
    assert all("--campaign spring" in str(group.command) for group in found)


@pytest.mark.parametrize(
    ("minutes", "trend"),
    [
        ((1, 2, 14), ErrorTrend.NEW),
        ((1, 2, 3, 20), ErrorTrend.RISING),
        ((1, 20, 30, 40), ErrorTrend.STEADY),
        ((1, 20, 22, 30, 32, 40, 42), ErrorTrend.FALLING),
        ((20, 30), ErrorTrend.OVER),
    ],
)
def test_the_last_quarter_is_compared_with_the_rest(minutes: tuple[int, ...], trend: ErrorTrend) -> None:
    """By occurrences a minute."""
    times = [NOW - timedelta(minutes=each) for each in minutes]
    assert find_trend(times, since=SINCE, now=NOW) is trend


def test_a_throttled_campaign_is_slowed() -> None:
    """If the group has no other emails; these cannot be slowed by it."""
    [spring] = groups(deferred(1, campaign="spring"), deferred(2, campaign="spring"))
    assert str(spring.command) == "mailctl campaign set-rate spring RATE"
    [mixed] = groups(deferred(1, campaign="spring"), deferred(2))
    assert str(mixed.command).startswith("mailctl list --state deferred")


def test_nothing_has_to_be_done_for_emails_that_are_tried_again() -> None:
    """As after greylisting, also of a campaign: a lower rate would change nothing."""
    greylisted = SmtpReply(code=450, enhanced="4.2.0", text="Greylisted, try again in 5 minutes")
    [group] = groups(deferred(1, campaign="spring", reply=greylisted))
    assert group.is_tried_again
    assert str(group.command) == "mailctl list --state deferred --error '450 4.2.0' --since 24h"
    [throttled] = groups(deferred(1, campaign="spring"))
    [failed] = groups(attempt(1))
    assert not throttled.is_tried_again
    assert not failed.is_tried_again


def test_emails_that_were_tried_again_are_found_by_their_ids() -> None:
    """Neither their state nor their error says any more that they belong to the group."""
    [found] = groups(attempt(1, state_now=State.PENDING), attempt(2, state_now=State.SENT))
    assert str(found.command) == "mailctl list id-1 id-2"
