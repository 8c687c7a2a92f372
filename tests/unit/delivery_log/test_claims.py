"""Claims: which emails a worker gets, and for how long."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.claims import Claims
from mailctl.delivery_log.pauses import Pauses, PauseScope
from mailctl.delivery_log.suppressions import Suppressions, SuppressionSource
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.security.keyring import Keyring
from tests.unit.delivery_log.conftest import LEASE

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


def test_an_email_is_claimed_once(log: Log) -> None:
    """The second worker gets nothing."""
    email_id = log.queue()
    assert log.claim(email_id).attempts == 1
    assert log.claims.claim([email_id], worker="other").claims == []


def test_a_lease_is_extended_while_the_claim_holds(log: Log) -> None:
    """By its own time, from now on."""
    claim = log.claim(log.queue())
    log.forward(30)
    claim.lease.lose()
    log.claims.extend([claim])
    assert log.email(claim.id).lease_until == log.now + LEASE
    assert claim.lease.may_send


def test_a_lease_ends_when_another_worker_has_the_claim(log: Log) -> None:
    """Its worker learns it when it wants more time."""
    claim = log.claim(log.queue())
    assert claim.lease.may_send
    log.forward(LEASE.total_seconds() + 1)
    log.recovery.release_stale(max_resends=2)
    log.claims.extend([claim])
    assert not claim.lease.may_send
    assert log.email(claim.id).lease_until is None


def test_a_suppressed_address_ends_the_email(log: Log) -> None:
    """It was suppressed while the email waited."""
    email_id = log.queue()
    Suppressions(log.engine).add({"zoe@example.com": "no"}, source=SuppressionSource.OPERATOR, actor="ada")
    result = log.claims.claim([email_id], worker="w")
    assert (result.claims, list(result.suppressed)) == ([], [email_id])
    assert log.email(email_id).reason_code is ReasonCode.SUPPRESSED_ADDRESS


def test_a_paused_email_goes_back_to_the_log(log: Log) -> None:
    """Its message is gone."""
    email_id = log.queue()
    Pauses(log.engine, clock=log.time).pause(PauseScope.KIND, "welcome", actor="ada", reason="")
    assert log.claims.claim([email_id], worker="w").claims == []
    assert log.email(email_id).state is State.PENDING
    assert log.last_event(email_id).reason_code is ReasonCode.PAUSED


def test_content_that_no_key_decrypts_is_deferred(log: Log) -> None:
    """Without counting an attempt: another process may have the key."""
    email_id = log.queue()
    stranger = Claims(log.engine, Keyring(["another-key"]), lease=timedelta(minutes=1), clock=log.time)
    [(found, _)] = stranger.claim([email_id], worker="w").unreadable
    email = log.email(email_id)
    assert (found, email.state, email.attempts) == (email_id, State.DEFERRED, 0)
    assert email.reason_code is ReasonCode.UNREADABLE_CONTENT


def test_what_a_batch_did_not_start_goes_back_to_the_log(log: Log) -> None:
    """What it has claimed stays claimed."""
    waiting, sending = log.queue(), log.queue()
    log.claim(sending)
    log.claims.return_unstarted([waiting, sending], reason="no time")
    assert (log.email(waiting).state, log.email(sending).state) == (State.PENDING, State.SENDING)
    assert log.last_event(waiting).reason_code is ReasonCode.NOT_STARTED
