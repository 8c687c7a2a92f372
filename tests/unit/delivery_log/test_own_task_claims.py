"""Claims of emails that the service's own tasks send: recorded once, run once, and held in doubt."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from mailctl.delivery_log.own_task_claims import OwnTaskClaim, OwnTaskClaims
from mailctl.delivery_log.own_task_emails import OwnTaskEmails
from mailctl.delivery_log.pauses import Pauses, PauseScope
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import emails
from mailctl.delivery_log.suppressions import Suppressions, SuppressionSource
from mailctl.domain.catalog import GENERIC
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import Content, Deferral, User
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from tests.unit.delivery_log.conftest import KEYRING, LATER, LEASE, SENT

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.domain.models import Draft
    from tests.unit.delivery_log.conftest import Log

ZOE, BOB = "zoe@example.com", "bob@example.com"


@pytest.fixture
def claims(log: Log) -> OwnTaskClaims:
    """The claims, by the clock of the log."""
    return OwnTaskClaims(log.engine, KEYRING, lease=LEASE, clock=log.time)


def message(log: Log, *addresses: str, eta: datetime | None = None, is_kept: bool = True) -> list[Draft]:
    """Return the emails of a message with the task id `m1`."""
    call = {"task": "shop.send", "args": [], "kwargs": {}} if is_kept else {}
    contents = [Content(user=User(email=each), call=call) for each in addresses or (ZOE,)]
    request = EmailRequest(kind=GENERIC, not_before=eta)
    return make_drafts(request, contents, queue="shop", now=log.now, first_id="m1")


def claim(claims: OwnTaskClaims, drafts: list[Draft], *, retries: int = 0) -> OwnTaskClaim:
    """Claim the emails of a message."""
    return claims.claim(drafts, worker="w", retries=retries)


def test_a_published_message_is_queued_for_the_services_task(log: Log, claims: OwnTaskClaims) -> None:
    """With its content sealed, once."""
    claims.record(message(log))
    claims.record(message(log))
    email = log.email("m1")
    assert (email.state, email.is_own_task, email.queued_at) == (State.QUEUED, True, log.now)
    content = log.outbox.content("m1")
    assert content is not None
    assert content.own_task == "shop.send"


def test_a_message_that_nobody_can_receive_waits_for_a_relay(log: Log, claims: OwnTaskClaims) -> None:
    """A memory broker is private to its process."""
    claims.record(message(log), is_on_broker=False)
    assert [email.id for email in log.publications.reserve_due(limit=5)] == ["m1"]


def test_a_worker_records_what_the_publisher_has_not(log: Log, claims: OwnTaskClaims) -> None:
    """The message may be faster than the row, or come from a process without a recorder."""
    assert [each.id for each in claim(claims, message(log)).claims] == ["m1"]
    claims.record(message(log))
    assert (log.email("m1").state, log.email("m1").attempts) == (State.SENDING, 1)


def test_a_message_that_comes_twice_is_run_once(log: Log, claims: OwnTaskClaims) -> None:
    """While it runs, and after it was sent."""
    [first] = claim(claims, message(log)).claims
    assert claim(claims, message(log)).refusal == "another worker has claimed it"
    log.results.finish(first, State.SENT, outcome=SENT)
    assert claim(claims, message(log)) == OwnTaskClaim(claims=(), refusal="it is sent")


def test_a_redelivery_without_an_outcome_is_held(log: Log, claims: OwnTaskClaims) -> None:
    """The worker may have sent it before it died."""
    claim(claims, message(log))
    log.forward(LEASE.total_seconds() + 1)
    assert "it is held: it is unknown whether" in claim(claims, message(log)).refusal
    email = log.email("m1")
    assert (email.state, email.reason_code) == (State.HELD, ReasonCode.OWN_TASK_UNKNOWN)


@pytest.mark.parametrize(("is_redelivered", "count"), [(False, 1), (True, 0)])
def test_a_message_that_was_only_missing_is_run(
    is_redelivered: bool, count: int, log: Log, claims: OwnTaskClaims
) -> None:
    """A worker had it in memory, where RabbitMQ does not show it; one that comes again may have run."""
    claims.record(message(log))
    OwnTaskEmails(log.engine, clock=log.time).hold_unknown(["m1"], why="it is gone")
    drafts = message(log)
    assert len(claims.claim(drafts, worker="w", retries=0, is_redelivered=is_redelivered).claims) == count


def test_a_deferred_email_is_claimed_by_the_retry(log: Log, claims: OwnTaskClaims) -> None:
    """No relay publishes it, as Celery has its message; before its time it is left alone."""
    [first] = claim(claims, message(log)).claims
    until = log.now + timedelta(minutes=10)
    log.results.defer(Deferral(claim=first, until=until, outcome=LATER))
    assert claim(claims, message(log)).refusal.startswith("it is deferred")
    log.forward(600)
    assert log.publications.reserve_due(limit=5) == []
    assert [each.attempts for each in claim(claims, message(log), retries=1).claims] == [2]


def test_a_retry_ends_the_run_before_it(log: Log, claims: OwnTaskClaims) -> None:
    """Although the log was down when it ended: Celery publishes a retry only then."""
    claim(claims, message(log))
    assert [each.attempts for each in claim(claims, message(log), retries=1).claims] == [2]
    assert claim(claims, message(log), retries=1).refusal == "another worker has claimed it"


def test_a_task_runs_for_the_recipients_that_are_left(log: Log, claims: OwnTaskClaims) -> None:
    """And no more when there is none."""
    first, second = claim(claims, message(log, ZOE, BOB)).claims
    log.results.finish(first, State.SENT, outcome=SENT)
    log.results.defer(Deferral(claim=second, until=log.now, outcome=LATER))
    [again] = claim(claims, message(log, ZOE, BOB), retries=1).claims
    assert again.content.user.email == BOB


def test_what_an_operator_stopped_is_not_run(log: Log, claims: OwnTaskClaims) -> None:
    """A suppressed address, and a paused kind: its message is gone, so a relay publishes it later."""
    claims.record(message(log))
    Suppressions(log.engine).add({ZOE: "no"}, source=SuppressionSource.OPERATOR, actor="ada")
    assert claim(claims, message(log)).refusal.startswith("it is suppressed")
    claims.record(message(log, BOB)[:1])
    assert log.email("m1").state is State.SUPPRESSED


def test_a_paused_email_goes_back_to_the_log(log: Log, claims: OwnTaskClaims) -> None:
    """Its message is gone, and it was not run: a relay publishes it when the pause ends."""
    Pauses(log.engine, clock=log.time).pause(PauseScope.KIND, GENERIC.name, actor="ada", reason="")
    assert claim(claims, message(log)).claims == ()
    assert log.email("m1").state is State.PENDING


def test_a_message_may_come_a_little_before_its_eta(log: Log, claims: OwnTaskClaims) -> None:
    """By the clock of another host."""
    drafts = message(log, eta=log.now + timedelta(seconds=2))
    assert claim(claims, drafts).claims
    assert log.email("m1").not_before == log.now + timedelta(seconds=2)


def test_emails_of_a_dead_process_are_held(log: Log, claims: OwnTaskClaims) -> None:
    """All that it was sending, and nothing else."""
    claim(claims, message(log, ZOE, BOB))
    claims.mark_lost("m1")
    with reading(log.engine) as connection:
        states = connection.execute(select(emails.c.state)).scalars().all()
    assert states == [State.HELD, State.HELD]
    claims.mark_lost("another")


def test_a_relay_holds_what_a_dead_process_was_sending(log: Log, claims: OwnTaskClaims) -> None:
    """Before its lease ends; nothing sends it again."""
    claim(claims, message(log))
    assert log.recovery.release_of_dead_processes(list_alive=tuple, max_resends=2) == 0
    email = log.email("m1")
    assert (email.state, email.reason_code) == (State.HELD, ReasonCode.OWN_TASK_UNKNOWN)
    assert "a process of its worker died while sending" in str(email.error)


def test_emails_of_a_process_that_died_before_its_claim_are_held(log: Log, claims: OwnTaskClaims) -> None:
    """Their message is gone; should it come after all, it is run."""
    claims.record(message(log))
    claims.mark_lost("m1")
    assert log.email("m1").state is State.HELD
    assert claim(claims, message(log)).claims


def test_stale_claims_are_held(log: Log, claims: OwnTaskClaims) -> None:
    """Whether or not a message comes again."""
    claim(claims, message(log))
    assert claims.hold_stale() == 0
    log.forward(LEASE.total_seconds() + 1)
    assert claims.hold_stale() == 1


def test_a_run_gets_its_email_back_from_doubt(log: Log, claims: OwnTaskClaims) -> None:
    """The log was down for longer than the lease, and the mail server accepted it."""
    [first] = claim(claims, message(log)).claims
    log.forward(LEASE.total_seconds() + 1)
    claims.hold_stale()
    assert not log.results.finish(first, State.SENT, outcome=SENT)
    assert claims.reclaim(first)
    assert log.results.finish(first, State.SENT, outcome=SENT)
    assert log.email("m1").state is State.SENT
    assert not claims.reclaim(first)


@pytest.mark.parametrize(("has_expired", "state"), [(False, State.CANCELLED), (True, State.EXPIRED)])
def test_a_discarded_message_ends_its_email(
    has_expired: bool, state: State, log: Log, claims: OwnTaskClaims
) -> None:
    """Unless it is being sent."""
    claims.record(message(log))
    claims.end_revoked("m1", has_expired=has_expired)
    assert log.email("m1").state is state


def test_what_is_being_sent_is_not_revoked(log: Log, claims: OwnTaskClaims) -> None:
    """Its run tells what became of it."""
    claim(claims, message(log))
    claims.end_revoked("m1", has_expired=False)
    assert log.email("m1").state is State.SENDING


def test_what_the_broker_did_not_take_has_failed(log: Log, claims: OwnTaskClaims) -> None:
    """Until its message comes after all."""
    claims.fail_unpublished(message(log))
    email = log.email("m1")
    assert (email.state, email.reason_code) == (State.FAILED, ReasonCode.UNPUBLISHABLE)
    assert claim(claims, message(log)).claims
    claims.fail_unpublished(message(log))
    assert log.email("m1").state is State.SENDING


def test_arguments_that_were_not_kept_leave_no_content(log: Log, claims: OwnTaskClaims) -> None:
    """So that nothing but the service can send it."""
    claims.record(message(log, is_kept=False))
    assert log.outbox.content("m1") is None


def test_an_unknown_recipient_is_learned_once(log: Log, claims: OwnTaskClaims) -> None:
    """From the mail server."""
    claims.record(message(log, ""))
    claims.record_address("m1", ZOE)
    claims.record_address("m1", BOB)
    assert log.email("m1").to == ZOE
    content = log.outbox.content("m1")
    assert content is not None
    assert content.call
