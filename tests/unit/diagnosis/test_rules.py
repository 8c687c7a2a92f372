"""Why an email is where it is: decisions from evidence, without asking anybody."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mailctl.broker.messages import CeleryMessage, MessagePosition, MessageSearchResult
from mailctl.delivery_log.circuits import Circuit
from mailctl.delivery_log.heartbeats import Worker
from mailctl.delivery_log.idempotency import IdempotencyKey
from mailctl.delivery_log.pauses import Pause, PauseScope
from mailctl.delivery_log.suppressions import Suppression, SuppressionSource
from mailctl.diagnosis import Case, Cause, Certainty, Evidence, diagnose
from mailctl.domain.eligibility import EligibilityFacts, available_actions
from mailctl.domain.models import Email, Event, SmtpReply, State
from mailctl.domain.reason_codes import ReasonCode
from tests.emails import NOW, email

RECORDED = NOW - timedelta(minutes=3)
EMAIL = email(
    State.QUEUED,
    created_at=RECORDED,
    updated_at=RECORDED,
    due_at=RECORDED,
    queued_at=RECORDED,
    expires_at=NOW + timedelta(days=1),
)
PENDING = replace(EMAIL, state=State.PENDING, queued_at=None)
WORKER = Worker(
    id="1",
    name="celery@web",
    host="web",
    pid=7,
    pool="prefork",
    concurrency=2,
    queues=("celery", "mailctl.bulk"),
    started_at=NOW - timedelta(hours=1),
    seen_at=NOW,
)
MESSAGE = CeleryMessage(
    task_id="e1",
    task="send_welcome_email_task",
    queue="celery",
    email_ids=("e1",),
    to=None,
    is_from_mailctl=True,
)
NOT_FOUND = MessageSearchResult(position=None, is_complete=True)
PAUSE = Pause(
    scope=PauseScope.KIND,
    name="welcome",
    reason="wrong link",
    actor="ada@ops",
    since=NOW - timedelta(hours=1),
)


def failed(email: Email, code: ReasonCode, **more: Any) -> Email:
    """Return an email that is not sent for a reason, in words that say nothing."""
    return replace(email, error="said so", reason_code=code, **more)


def circuit(stage: str, *, failures: int = 3) -> Circuit:
    """Return what is known of a server that does not work."""
    return Circuit(
        server="smtp:587",
        failures=failures,
        probes=0,
        reason=f"at {stage}: said so",
        stage=stage,
        since=NOW - timedelta(minutes=5),
        probe_at=NOW + timedelta(seconds=20),
    )


def event(
    state: State, text: str, *, code: ReasonCode | None = None, stage: str | None = None, actor: str = ""
) -> Event:
    """Return one step of an email's life."""
    return Event(
        at=NOW,
        state=state,
        attempt=1,
        worker=None,
        code=None,
        text=text,
        actor=actor or None,
        reason_code=code,
        stage=stage,
    )


def causes(email: Email, *events: Event, workers: tuple[Worker, ...] = (WORKER,), **more: Any) -> list[Cause]:
    """Return what is diagnosed."""
    evidence = Evidence(workers=workers, **more)
    return list(diagnose(Case(email=email, events=events, evidence=evidence, now=NOW)))


def names(*arguments: Any, **more: Any) -> list[str]:
    """Return the names of the causes, the first one first."""
    return [cause.name for cause in causes(*arguments, **more)]


def place(ahead: int | None) -> MessageSearchResult:
    """Return a message that was found."""
    return MessageSearchResult(
        position=MessagePosition(queue="celery", ahead=ahead, message=MESSAGE), is_complete=True
    )


class TestWaiting:
    @pytest.mark.parametrize("email", [EMAIL, PENDING])
    def test_what_has_to_be_put_right_first_comes_first(self, email: Email) -> None:
        """A pause before the broker, the broker before workers, workers before their queues."""
        assert names(email, workers=(), pauses=(PAUSE,), broker_error="It is down.") == [
            "paused",
            "broker_down",
            "no_worker",
        ]
        assert names(email, workers=(replace(WORKER, queues=("reports",)),))[0] == "wrong_queue"

    def test_a_pause_of_something_else_does_not_matter(self) -> None:
        """It has a scope and a name."""
        assert "paused" not in names(EMAIL, pauses=(replace(PAUSE, scope=PauseScope.QUEUE),), search=place(0))

    def test_workers_of_others_count_where_messages_are_on_the_broker(self) -> None:
        """Not where somebody has to publish first."""
        theirs = {"celery@other": ("celery",)}
        assert "no_worker" not in names(EMAIL, workers=(), consumers=theirs, search=place(0))
        assert names(PENDING, workers=(), consumers=theirs)[0] == "no_worker"
        assert names(EMAIL, workers=(), consumers={}, search=place(0))[0] == "no_worker"

    def test_a_queue_of_its_own_needs_a_worker_that_takes_it(self) -> None:
        """The next step says how."""
        [first, *_] = causes(replace(EMAIL, queue="reports"), workers=(), is_usual_queue=False)
        assert str(first.next_step) == "mailctl worker -Q reports"

    def test_a_next_step_can_be_copied_whatever_the_name(self) -> None:
        """Queues are named by other programs; a shell must not run what is in their names."""
        [first, *_] = causes(replace(EMAIL, queue="x; rm -rf ~"))
        assert str(first.next_step) == "mailctl worker -Q 'x; rm -rf ~'"

    def test_a_queue_that_no_option_can_name_has_no_next_step(self) -> None:
        """Names of queues are given with commas between them."""
        [first, *_] = causes(replace(EMAIL, queue="a,b"))
        assert (first.name, first.next_step) == ("wrong_queue", None)

    def test_the_position_has_an_expected_wait(self) -> None:
        """By what has left the queue lately."""
        [first] = causes(EMAIL, search=place(12), attempts_per_minute=6.0)
        assert first.name == "in_line"
        assert first.sentence == (
            "queued 3 min ago; 12 messages are ahead of it in queue 'celery', about 2 min at 6 a minute"
        )
        assert names(EMAIL, emails_ahead=3, is_in_memory=True) == ["in_line"]

    def test_a_message_that_is_nowhere_was_lost(self) -> None:
        """Unless it is on its way, or not everything could be looked through."""
        [first] = causes(EMAIL, search=NOT_FOUND)
        assert first.name == "broker_lost"
        assert "will publish it again by 2026-03-01 12:00:05 UTC" in first.sentence
        fresh = replace(EMAIL, queued_at=NOW - timedelta(seconds=2))
        assert names(fresh, search=NOT_FOUND) == ["on_its_way"]
        assert names(EMAIL, search=MessageSearchResult(position=None, is_complete=False)) == ["on_its_way"]

    def test_a_worker_may_have_its_message(self) -> None:
        """And have died with it; then the log brings it back."""
        [first] = causes(EMAIL, search=place(None), lease=timedelta(minutes=5))
        assert (first.name, first.certainty) == ("held_by_worker", Certainty.LIKELY)
        assert "12:02:05" in first.sentence

    def test_what_a_relay_cannot_publish_says_why(self) -> None:
        """Such as content that was sealed with another key."""
        assert names(failed(PENDING, ReasonCode.PUBLISHING_FAILED))[0] == "unpublishable"

    @pytest.mark.parametrize("code", [ReasonCode.BROKER_LOST, ReasonCode.WORKER_LOST])
    def test_what_goes_back_into_the_log_says_what_lost_it(self, code: ReasonCode) -> None:
        """By the code of its last event, however that is worded."""
        [first, *_] = causes(PENDING, event(State.PENDING, "it is gone", code=code))
        assert (first.name, first.sentence) == ("broker_lost", "it is gone; a relay will publish it again")
        assert names(PENDING, event(State.PENDING, "the broker lost its message")) == ["on_its_way"]

    def test_nothing_wrong_is_said_so(self) -> None:
        """There is always an answer."""
        assert names(PENDING) == ["on_its_way"]

    def test_a_key_that_was_used_again_is_told_last(self) -> None:
        """The second call sent nothing."""
        key = IdempotencyKey(key="order-7", email_id="e1", expires_at=NOW + timedelta(hours=1))
        found = causes(PENDING, idempotency_keys=(key,))
        assert [cause.name for cause in found] == ["on_its_way", "idempotency"]
        assert "'order-7'" in found[1].sentence


class TestAttempts:
    DEFERRED = replace(
        EMAIL,
        state=State.DEFERRED,
        attempts=2,
        not_before=NOW + timedelta(seconds=40),
        worker="celery@web",
        error="said so",
        reason_code=ReasonCode.DEFERRED,
    )

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
            (ReasonCode.UNREADABLE_CONTENT, None, None, "our_settings"),
        ],
    )
    def test_the_code_the_stage_and_the_status_decide(
        self, code: ReasonCode, stage: str | None, enhanced: str | None, expected: str
    ) -> None:
        """The next attempt is named; the wording decides nothing."""
        misleading = event(State.DEFERRED, "ambiguous at connect: config", code=code, stage=stage)
        reply = SmtpReply(code=450 if enhanced else None, enhanced=enhanced, text="asked to try later")
        [first] = causes(replace(self.DEFERRED, reply=reply), misleading)
        assert first.name == expected
        assert "the next attempt is at 2026-03-01 12:00:40 UTC, in 40 s" in first.sentence

    def test_a_failed_attempt_has_a_next_step(self) -> None:
        """Where mailctl goes on by itself, it is to follow the email."""
        text = event(State.DEFERRED, "timed out", code=ReasonCode.DEFERRED, stage="rcpt")
        [first] = causes(self.DEFERRED, text)
        assert (first.name, str(first.next_step)) == ("session_failed", "mailctl status e1 --watch")
        assert "asked" not in first.sentence

    def test_who_is_missing_for_the_next_attempt_comes_second_until_it_is_due(self) -> None:
        """Then it comes first."""
        text = event(State.DEFERRED, "451 later", code=ReasonCode.DEFERRED, stage="rcpt")
        later = replace(self.DEFERRED, reply=SmtpReply(code=451))
        assert names(later, text, workers=()) == ["mail_server_later", "no_worker"]
        due = replace(later, not_before=NOW - timedelta(seconds=1))
        assert names(due, text, workers=()) == ["no_worker", "mail_server_later"]

    def test_an_open_circuit_keeps_back_what_was_never_tried(self) -> None:
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

    def test_a_living_worker_is_at_it(self) -> None:
        """For as long as its lease holds."""
        assert names(self.SENDING) == ["in_hand"]

    @pytest.mark.parametrize(
        "workers",
        [
            (),
            (replace(WORKER, name="celery@other"),),
            (replace(WORKER, started_at=NOW - timedelta(seconds=5)),),
        ],
    )
    def test_a_dead_worker_leaves_a_lease(self, workers: tuple[Worker, ...]) -> None:
        """Also where one of its name was started since; it is said when the lease runs out."""
        [first] = causes(self.SENDING, workers=workers)
        assert (first.name, first.certainty) == ("lease_of_dead_worker", Certainty.CERTAIN)
        assert "its lease expires at 2026-03-01 12:00:50 UTC" in first.sentence

    def test_a_lease_that_has_run_out_says_so(self) -> None:
        """Whoever holds it."""
        late = replace(self.SENDING, lease_until=NOW - timedelta(seconds=5))
        assert names(late)[0] == "lease_of_dead_worker"


class TestEnded:
    @pytest.mark.parametrize(
        ("email", "expected"),
        [
            (replace(EMAIL, state=State.SENT, reply=SmtpReply(code=250, text="ok")), "accepted"),
            (
                failed(EMAIL, ReasonCode.REFUSED, state=State.FAILED, reply=SmtpReply(enhanced="5.1.1")),
                "recipient_refused",
            ),
            (failed(EMAIL, ReasonCode.REFUSED, state=State.FAILED), "message_refused"),
            (failed(EMAIL, ReasonCode.OUT_OF_ATTEMPTS, state=State.FAILED), "out_of_attempts"),
            (failed(EMAIL, ReasonCode.NOT_COMPOSED, state=State.FAILED), "not_made"),
            (failed(EMAIL, ReasonCode.INVALID_MESSAGE, state=State.FAILED), "not_made"),
            (failed(EMAIL, ReasonCode.OWN_TASK_FAILED, state=State.FAILED), "own_task_failed"),
            (failed(EMAIL, ReasonCode.OWN_TASK_UNCONFIRMED, state=State.UNCONFIRMED), "unconfirmed"),
            (replace(EMAIL, state=State.CANCELLED), "cancelled"),
            (replace(EMAIL, state=State.HELD), "held"),
            (replace(EMAIL, state=State.SUPPRESSED), "suppressed"),
        ],
    )
    def test_each_end_has_its_cause(self, email: Email, expected: str) -> None:
        """One, and certain or likely."""
        assert names(email) == [expected]

    def test_a_refusal_at_rcpt_is_about_the_recipient(self) -> None:
        """Whatever the status says; a refusal at another stage is about the message."""
        email = failed(EMAIL, ReasonCode.REFUSED, state=State.FAILED)
        assert names(email, event(State.FAILED, "no", stage="rcpt")) == ["recipient_refused"]
        assert names(email, event(State.FAILED, "at rcpt: no", stage="body")) == ["message_refused"]

    def test_who_held_it_is_named(self) -> None:
        """With the reason, and how it goes on."""
        held = replace(EMAIL, state=State.HELD, error="held by ada@ops: bad text")
        can_be_done = available_actions(
            held, EligibilityFacts(has_content=True, may_have_been_sent=False, has_been_resent=False), now=NOW
        )
        [first] = causes(
            held, event(State.HELD, "held: bad text", actor="ada@ops"), available_actions=can_be_done
        )
        assert first.sentence == "held by ada@ops: bad text (since 2026-03-01 12:00:00 UTC)"
        assert str(first.next_step) == "mailctl release e1"

    def test_what_was_done_is_said_once(self) -> None:
        """The event of a cancelled email repeats what its error says."""
        cancelled = replace(EMAIL, state=State.CANCELLED, error="cancelled by ada@ops")
        [first] = causes(cancelled, event(State.CANCELLED, "cancelled", actor="ada@ops"))
        assert first.sentence == "cancelled by ada@ops"

    @pytest.mark.parametrize("state", [State.SENT, State.FAILED])
    def test_a_reply_is_shown_as_the_mail_server_gave_it(self, state: State) -> None:
        """With both codes, and without what mailctl says around it in the log."""
        reply = SmtpReply(code=550, enhanced="5.7.1", text="as it is")
        refused = failed(EMAIL, ReasonCode.REFUSED, state=state, reply=reply)
        [first] = causes(replace(refused, error="refused at body: 550 5.7.1 as it is"))
        assert ": 550 5.7.1 as it is" in first.sentence
        assert "refused at" not in first.sentence

    def test_an_expired_email_names_what_kept_it(self) -> None:
        """That is the cause behind the cause."""
        kept = event(State.DEFERRED, "config at auth: 535 no")
        [first] = causes(replace(EMAIL, state=State.EXPIRED, error="its links died"), kept)
        assert first.sentence == "its links died; the delay was caused by: config at auth: 535 no"

    def test_what_was_made_anew_leads_to_the_new_one(self) -> None:
        """That is the one which counts."""
        [first] = causes(failed(EMAIL, ReasonCode.RESENT, state=State.FAILED, resent_as="e2"))
        assert (first.name, str(first.next_step)) == ("resent", "mailctl why e2")

    def test_a_suppressed_address_can_be_let_go(self) -> None:
        """With the rule."""
        rule = Suppression(
            address="zoe@example.com",
            reason="550 5.1.1",
            source=SuppressionSource.BOUNCE,
            code=550,
            enhanced="5.1.1",
            actor=None,
            created_at=NOW,
        )
        [first] = causes(replace(EMAIL, state=State.SUPPRESSED), suppression=rule)
        assert str(first.next_step) == "mailctl suppress remove zoe@example.com"
