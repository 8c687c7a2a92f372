"""Which rules apply to an email, and the order of the causes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.idempotency import IdempotencyKey
from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from tests.emails import NOW
from tests.unit.diagnosis.samples import (
    DEFERRED,
    EMAIL,
    PAUSE,
    PENDING,
    WORKER,
    causes,
    event,
    failed,
    names,
)

if TYPE_CHECKING:
    from mailctl.domain.models import Email


@pytest.mark.parametrize("email", [EMAIL, PENDING])
def test_what_has_to_be_put_right_first_comes_first(email: Email) -> None:
    """A pause before the broker, the broker before workers, workers before their queues."""
    assert names(email, workers=(), pauses=(PAUSE,), broker_error="It is down.") == [
        "paused",
        "broker_down",
        "no_worker",
    ]
    assert names(email, workers=(replace(WORKER, queues=("reports",)),))[0] == "wrong_queue"


def test_who_is_missing_for_the_next_attempt_comes_second_until_it_is_due() -> None:
    """Then it comes first."""
    text = event(State.DEFERRED, "451 later", code=ReasonCode.DEFERRED, stage="rcpt")
    later = replace(DEFERRED, reply=SmtpReply(code=451))
    assert names(later, text, workers=()) == ["mail_server_later", "no_worker"]
    due = replace(later, not_before=NOW - timedelta(seconds=1))
    assert names(due, text, workers=()) == ["no_worker", "mail_server_later"]


def test_nothing_wrong_is_said_so() -> None:
    """There is always an answer."""
    assert names(PENDING) == ["on_its_way"]


def test_a_key_that_was_used_again_is_told_last() -> None:
    """The second call sent nothing."""
    key = IdempotencyKey(key="order-7", email_id="e1", expires_at=NOW + timedelta(hours=1))
    found = causes(PENDING, idempotency_keys=(key,))
    assert [cause.name for cause in found] == ["on_its_way", "idempotency"]
    assert "'order-7'" in found[1].sentence


def test_what_was_made_anew_leads_to_the_new_one() -> None:
    """That is the one which counts."""
    [first] = causes(failed(EMAIL, ReasonCode.RESENT, state=State.FAILED, resent_as="e2"))
    assert (first.name, str(first.next_step)) == ("resent", "mailctl why e2")


def test_copies_that_may_have_arrived_are_told_first() -> None:
    """Whatever has become of the email since."""
    lost = event(State.DEFERRED, "no reply", code=ReasonCode.NO_REPLY, stage="body")
    [sent, *_] = causes(replace(EMAIL, state=State.SENT), lost)
    assert sent.sentence.startswith("may have arrived up to 2 times (same Message-ID); ")
    [held, *_] = causes(replace(EMAIL, state=State.HELD), lost, lost, lost)
    assert held.sentence.startswith("may have arrived up to 3 times (same Message-ID); ")
