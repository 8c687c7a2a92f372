"""Emails that are tried, or wait for their next attempt."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.diagnosis.models import Certainty, SilentWorker
from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from tests.emails import NOW
from tests.unit.diagnosis.samples import (
    DEFERRED,
    EMAIL,
    PENDING,
    WORKER,
    causes,
    circuit,
    event,
    failed,
    names,
)

if TYPE_CHECKING:
    from mailctl.delivery_log.heartbeats import Worker


@pytest.mark.parametrize(
    ("code", "stage", "enhanced", "expected"),
    [
        (ReasonCode.CONFIGURATION, "auth", "5.7.8", "smtp_auth"),
        (ReasonCode.DEFERRED, "auth", "4.7.0", "smtp_auth"),
        (ReasonCode.CONFIGURATION, "tls", None, "smtp_tls"),
        (ReasonCode.DEFERRED, "connect", None, "mail_server_down"),
        (ReasonCode.DEFERRED, "connect", "4.7.0", "rate_limited"),
        (ReasonCode.DEFERRED, "rcpt", "4.7.1", "rate_limited"),
        (ReasonCode.DEFERRED, "body", "4.3.0", "mail_server_later"),
        (ReasonCode.DEFERRED, "rcpt", None, "session_failed"),
        (ReasonCode.NO_REPLY, "body", None, "no_reply"),
        (ReasonCode.CONFIGURATION, "mail", "5.7.1", "sender_refused"),
        (ReasonCode.CONFIGURATION, None, None, "our_settings"),
        (ReasonCode.UNREADABLE_CONTENT, None, None, "wrong_key"),
    ],
)
def test_the_code_the_stage_and_the_status_decide(
    code: ReasonCode, stage: str | None, enhanced: str | None, expected: str
) -> None:
    """The next attempt is named; the wording decides nothing."""
    misleading = event(State.DEFERRED, "ambiguous at connect: config", code=code, stage=stage)
    reply = SmtpReply(code=450 if enhanced else None, enhanced=enhanced, text="asked to try later")
    [first] = causes(replace(DEFERRED, reply=reply), misleading)
    assert first.name == expected
    assert "the next attempt is at 2026-03-01 12:00:40 UTC, in 40 s" in first.sentence


def test_a_failed_attempt_has_a_next_step() -> None:
    """Where mailctl goes on by itself, it is to follow the email."""
    text = event(State.DEFERRED, "timed out", code=ReasonCode.DEFERRED, stage="rcpt")
    [first] = causes(DEFERRED, text)
    assert (first.name, str(first.next_step)) == ("session_failed", "mailctl status e1 --watch")
    assert "asked" not in first.sentence


def test_an_open_circuit_keeps_back_what_was_never_tried() -> None:
    """With what the server said to others."""
    kept = failed(PENDING, ReasonCode.MAIL_SERVER_DOWN, not_before=NOW + timedelta(seconds=20))
    [first, *_] = causes(kept, circuit=circuit("auth"))
    assert first.name == "smtp_auth"
    assert "the next probe is at 2026-03-01 12:00:20 UTC" in first.sentence
    assert names(PENDING, circuit=circuit("connect"))[0] == "mail_server_down"
    assert names(PENDING, circuit=circuit("auth", failures=1)) == ["on_its_way"]


SENDING = replace(
    EMAIL,
    state=State.SENDING,
    worker="celery@web",
    updated_at=NOW - timedelta(seconds=10),
    lease_until=NOW + timedelta(seconds=50),
)
LONG_AGO = replace(SENDING, updated_at=NOW - timedelta(seconds=45))


def test_a_living_worker_is_at_it() -> None:
    """For as long as its lease holds."""
    assert names(SENDING) == ["in_hand"]


def test_a_process_of_the_pool_has_died_meanwhile() -> None:
    """Then nobody may be sending it, and the lease says until when."""
    [first, *_] = causes(SENDING, replaced_processes=1)
    assert (first.name, first.certainty) == ("process_died", Certainty.LIKELY)
    assert "when its lease expires at 2026-03-01 12:00:50 UTC" in first.sentence
    assert names(SENDING, replaced_processes=0) == ["in_hand"]


@pytest.mark.parametrize("state", [State.PENDING, State.QUEUED, State.SENDING])
def test_a_process_that_died_at_the_attempt_before_is_why_it_is_sent_again(state: State) -> None:
    """As long as that is the last that is known of it."""
    again = replace(SENDING, state=state, reason_code=ReasonCode.PROCESS_DIED, not_before=None)
    died = replace(
        event(State.PENDING, "a process of its worker died", code=ReasonCode.PROCESS_DIED),
        worker="celery@web",
    )
    [first, *_] = causes(again, died)
    assert first.name == "process_died"
    assert "a process of celery@web died while it was sending it" in first.sentence
    assert "may have arrived up to 1 time" in first.sentence
    assert "process_died" not in names(replace(again, reason_code=None), died)


def test_an_attempt_that_was_interrupted_is_no_fault_of_the_mail_server() -> None:
    """It has not been asked to the end."""
    cut = event(State.DEFERRED, "the attempt was interrupted", code=ReasonCode.INTERRUPTED)
    [first, *_] = causes(DEFERRED, cut)
    assert (first.name, "before the mail server had the message" in first.sentence) == ("interrupted", True)


@pytest.mark.parametrize(
    "workers",
    [
        (),
        (replace(WORKER, name="celery@other"),),
        (replace(WORKER, started_at=NOW - timedelta(seconds=5)),),
    ],
)
def test_a_dead_worker_leaves_a_lease(workers: tuple[Worker, ...]) -> None:
    """Also where one of its name was started since; it is said when the lease runs out."""
    silent = (SilentWorker(worker=WORKER, is_suspended=False),)
    [first] = causes(SENDING, workers=workers, silent=silent)
    assert (first.name, first.certainty) == ("lease_of_dead_worker", Certainty.CERTAIN)
    assert "died while sending it; its lease expires at 2026-03-01 12:00:50 UTC" in first.sentence


def test_a_worker_that_has_signed_off_may_be_finishing_its_emails() -> None:
    """It is not called dead while its lease lasts."""
    [first] = causes(SENDING, workers=(), silent=())
    assert (first.name, first.certainty) == ("lease_of_dead_worker", Certainty.LIKELY)
    assert "is stopping and still sends it, or has died since; its lease expires at" in first.sentence


def test_a_lease_that_has_run_out_says_so() -> None:
    """Whoever holds it."""
    late = replace(SENDING, lease_until=NOW - timedelta(seconds=5))
    assert names(late)[0] == "lease_of_dead_worker"


def test_a_campaign_that_is_throttled_can_be_slowed() -> None:
    """Its rate is what the operator can change."""
    throttled = replace(DEFERRED, campaign="spring", reply=SmtpReply(code=451, enhanced="4.7.1", text="slow"))
    [first, *_] = causes(throttled, event(State.DEFERRED, "slow", code=ReasonCode.DEFERRED, stage="rcpt"))
    assert (first.name, str(first.next_step)) == ("rate_limited", "mailctl campaign set-rate spring RATE")


def test_the_rate_that_workers_have_learned_is_named() -> None:
    """For an email that was throttled, and not for one that failed otherwise."""
    at_rcpt = event(State.DEFERRED, "said so", code=ReasonCode.DEFERRED, stage="rcpt")
    throttled = replace(DEFERRED, reply=SmtpReply(code=451, enhanced="4.7.1", text="slow"))
    assert "now send it 2.5 emails a second" in causes(throttled, at_rcpt, learned_rate=2.5)[0].sentence
    assert "emails a second" not in causes(throttled, at_rcpt)[0].sentence
    busy = replace(DEFERRED, reply=SmtpReply(code=451, enhanced="4.3.0", text="busy"))
    assert "emails a second" not in causes(busy, at_rcpt, learned_rate=2.5)[0].sentence


def test_a_server_that_asks_to_come_back_needs_nothing_from_us() -> None:
    """The email is tried again by itself: its next attempt is named, and can be watched."""
    greylisted = replace(DEFERRED, reply=SmtpReply(code=450, enhanced="4.7.1", text="greylisted"))
    later = event(State.DEFERRED, "said so", code=ReasonCode.DEFERRED, stage="rcpt")
    [first, *_] = causes(greylisted, later)
    assert (first.name, str(first.next_step)) == ("rate_limited", "mailctl status e1 --watch")
    assert "the next attempt is at 2026-03-01 12:00:40 UTC" in first.sentence


@pytest.mark.parametrize(
    ("learned_rate", "step"), [(None, "mailctl list --state sending"), (2.5, "mailctl status e1 --watch")]
)
def test_an_email_that_waits_for_its_turn_says_for_what(learned_rate: float | None, step: str) -> None:
    """As the worker has recorded it; without a rate, it waits for emails that are being sent."""
    waits = "it waits for its turn: none of the 3 emails to d.example that are being sent has ended for 5 s"
    email = replace(DEFERRED, attempts=0, reason_code=ReasonCode.SEND_RATE, error=waits)
    stalled = event(State.DEFERRED, waits, code=ReasonCode.SEND_RATE, stage="")
    [first, *_] = causes(email, stalled, learned_rate=learned_rate)
    assert first.sentence.startswith(f"it was not sent because {waits}; ")
    assert (first.name, str(first.next_step)) == ("send_rate", step)


def test_what_is_known_of_an_email_that_is_being_sent_for_long_is_said() -> None:
    """No reply yet; whether the message was handed over is not recorded, so it may arrive."""
    [first] = causes(LONG_AGO, reply_limit=timedelta(minutes=10))
    assert first.sentence == (
        "celery@web has been sending it for 45 s; no reply of the mail server is recorded yet, so the mail"
        " server may have it already; for the reply to a message, a worker waits 10 min at most"
    )
    assert str(first.next_step) == "mailctl status e1 --watch"


def test_an_email_may_wait_in_the_worker_for_its_turn() -> None:
    """A mail server that takes few emails a second is waited for as well."""
    [first] = causes(LONG_AGO, learned_rate=0.5)
    assert "or it waits for its turn: all workers together now send 0.5 emails a second" in first.sentence
    assert str(first.next_step) == "mailctl status e1 --watch"
