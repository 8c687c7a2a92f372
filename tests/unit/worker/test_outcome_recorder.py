"""Each outcome of an attempt leads to a state, which is recorded for one email or for a group."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import DataError

from mailctl.domain.lease import Lease
from mailctl.domain.models import Claim, Content, Envelope, Event, User
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.retry_policy import MAX_ATTEMPTS, RetryPolicy
from mailctl.domain.states import State
from mailctl.errors import ConfigurationError, LeaseEnded, LogUnavailable, RenderError
from mailctl.worker.outcome_recorder import OutcomeRecorder, interrupted
from tests.unit.worker.fakes import Calls, parts

ENVELOPE = Envelope(
    sender="a@example.com", recipient="b@example.com", message_id="<m>", data=b"", subject="s"
)


def claim(email_id: str = "a", *, expires_in: timedelta | None = None, attempts: int = 1) -> Claim:
    """Return a claim on an email."""
    now = datetime.now(UTC)
    return Claim(
        id=email_id,
        kind="welcome",
        attempts=attempts,
        created_at=now,
        expires_at=None if expires_in is None else now + expires_in,
        worker="w",
        token="t",
        content=Content(user=User(email="zoe@example.com")),
        lease=Lease(seconds=60, asked_at=0.0),
    )


class Log:
    """A recorder with a log that remembers calls."""

    def __init__(
        self, *, resends: int = 2, lost: tuple[str, ...] = (), events: tuple[Event, ...] = ()
    ) -> None:
        self.results = Calls(finish=True, defer=(), let_go=True, finish_sent=lost)
        self.breaker = Calls(record_outcome=None)
        runtime = parts(
            attempt_results=self.results,
            history=Calls(events=events),
            settings=SimpleNamespace(resends_in_doubt=resends, debug=False),
            retry_policy=RetryPolicy(first_seconds=30, cap_seconds=3600),
        )
        self.recorder = OutcomeRecorder(runtime, self.breaker)  # type: ignore[arg-type]

    def record(self, result: Any, **more: Any) -> State | None:
        return self.recorder.record(claim(**more), result).state


def outcome(kind: OutcomeKind, **more: Any) -> tuple[Envelope, Outcome]:
    return ENVELOPE, Outcome(kind=kind, **more)


@pytest.mark.parametrize(
    ("result", "state"),
    [
        (outcome(OutcomeKind.ACCEPTED), State.SENT),
        (outcome(OutcomeKind.CAPTURED), State.CAPTURED),
        (outcome(OutcomeKind.REFUSED), State.FAILED),
        (outcome(OutcomeKind.FORBIDDEN), State.SUPPRESSED),
        (outcome(OutcomeKind.DEFERRED), State.DEFERRED),
        (outcome(OutcomeKind.AMBIGUOUS), State.DEFERRED),
        (outcome(OutcomeKind.CONFIG), State.DEFERRED),
        (RenderError("a variable is missing"), State.FAILED),
        (ConfigurationError("no template", fix="Add it."), State.DEFERRED),
        (OSError("the disk is full"), State.DEFERRED),
    ],
)
def test_each_outcome_has_a_state(result: Any, state: State) -> None:
    """An error of the settings or of the disk defers the email."""
    assert Log().record(result) is state


def test_an_email_whose_lease_ended_is_let_go() -> None:
    """Nothing was handed over, so it is neither sent nor tried."""
    log = Log()
    assert log.record(LeaseEnded("too late")) is State.PENDING
    assert log.results.names == ["let_go"]


def test_an_interrupted_attempt_is_tried_again() -> None:
    """It counts as an attempt, and the mail server is not said to have the message."""
    log = Log()
    assert log.record(asyncio.CancelledError()) is State.DEFERRED
    [(name, (deferral,), _)] = log.results.calls
    assert (name, deferral.outcome.reason_code, deferral.counts_as_attempt) == (
        "defer",
        ReasonCode.INTERRUPTED,
        True,
    )
    assert log.record((ENVELOPE, interrupted(has_begun=True))) is State.DEFERRED
    assert log.results.calls[-1][1][0].outcome.reason_code is ReasonCode.NO_REPLY


def test_an_ambiguous_outcome_can_hold_the_email() -> None:
    """By MAILCTL_ON_AMBIGUOUS."""
    assert Log(resends=0).record(outcome(OutcomeKind.AMBIGUOUS)) is State.HELD


def test_an_ambiguous_outcome_holds_the_email_in_the_end() -> None:
    """Each time that it is sent again, its reader may get another copy."""
    now = datetime.now(UTC)
    unanswered = Event(
        at=now,
        state=State.DEFERRED,
        attempt=1,
        worker="w",
        code=None,
        text="",
        reason_code=ReasonCode.NO_REPLY,
    )
    disappeared = replace(unanswered, state=State.PENDING, reason_code=ReasonCode.WORKER_DISAPPEARED)
    acted = replace(unanswered, state=State.PENDING, reason_code=ReasonCode.RELEASED, actor="ada")
    for events, state in [
        ((unanswered,), State.DEFERRED),
        ((unanswered, unanswered), State.HELD),
        ((disappeared, unanswered), State.HELD),
        ((unanswered, unanswered, acted, unanswered), State.DEFERRED),
    ]:
        assert Log(events=events).record(outcome(OutcomeKind.AMBIGUOUS)) is state


def test_an_error_of_the_disk_is_described() -> None:
    """It does not count as an attempt."""
    log = Log()
    log.record(OSError("the disk is full"))
    [(_, (deferral,), _)] = log.results.calls
    assert deferral.outcome.reply.text == "the message cannot be stored: the disk is full"
    assert not deferral.counts_as_attempt


def test_another_exception_passes_through() -> None:
    """The message then returns to the broker."""
    log = Log()
    with pytest.raises(KeyboardInterrupt):
        log.record(KeyboardInterrupt())
    assert log.results.calls == []


def test_an_email_whose_links_have_expired_is_not_sent() -> None:
    """None stands for one that can still be sent."""
    recorder = Log().recorder
    late = recorder.expire_if_too_late(claim(expires_in=timedelta(seconds=-1)))
    assert late is not None
    assert late.state is State.EXPIRED
    assert recorder.expire_if_too_late(claim(expires_in=timedelta(hours=1))) is None
    assert recorder.expire_if_too_late(claim()) is None


def test_sent_emails_of_a_group_are_recorded_together() -> None:
    """At first, because what is lost before that is sent twice; the others one by one."""
    log = Log()
    results = [outcome(OutcomeKind.ACCEPTED), RenderError("x"), outcome(OutcomeKind.CAPTURED)]
    recorded = log.recorder.record_all([claim("a"), claim("b"), claim("c")], results)
    assert {each.email_id: each.state for each in recorded} == {
        "a": State.SENT,
        "b": State.FAILED,
        "c": State.CAPTURED,
    }
    [(_, (sent,), _), (_, (failed, *_), _)] = log.results.calls
    assert [(each.claim.id, each.state) for each in sent] == [("a", State.SENT), ("c", State.CAPTURED)]
    assert failed.id == "b"


def test_deferred_emails_are_recorded_together() -> None:
    """A mail server that says 451 to thousands is recorded in few transactions; one that fails is apart."""
    log = Log()
    later = outcome(OutcomeKind.DEFERRED, stage="rcpt")
    claims = [claim("a"), claim("b"), claim("late", attempts=MAX_ATTEMPTS)]
    recorded = log.recorder.record_all(claims, [later] * 3)
    assert {each.email_id: each.state for each in recorded} == {
        "a": State.DEFERRED,
        "b": State.DEFERRED,
        "late": State.FAILED,
    }
    [(_, (failed, *_), _), (_, deferred, _)] = log.results.calls
    assert (failed.id, [each.claim.id for each in deferred]) == ("late", ["a", "b"])
    assert len(log.breaker.calls) == 3


def test_a_group_without_sent_emails_needs_no_transaction() -> None:
    """The refused one is recorded alone."""
    log = Log()
    [recorded] = log.recorder.record_all([claim()], [outcome(OutcomeKind.REFUSED)])
    assert recorded.state is State.FAILED
    assert log.results.names == ["finish"]


def test_an_unexpected_error_of_one_email_keeps_no_other_from_being_recorded() -> None:
    """Its own lease runs out; what was interrupted is tried again."""
    log = Log()
    results = [ValueError("secret"), asyncio.CancelledError(), outcome(OutcomeKind.ACCEPTED)]
    [recorded, cut] = log.recorder.record_all([claim("a"), claim("b"), claim("c")], results)
    assert (cut.email_id, cut.state) == ("b", State.DEFERRED)
    assert (recorded.email_id, recorded.state) == ("c", State.SENT)


REFUSED_VALUE = LogUnavailable("the log cannot be used: no such value.")
REFUSED_VALUE.__cause__ = DataError("UPDATE", {}, ValueError("no such value"))


@pytest.mark.parametrize("error", [OverflowError("too large"), REFUSED_VALUE], ids=["a bug", "the log"])
def test_an_outcome_that_cannot_be_recorded_keeps_no_other_back(error: Exception) -> None:
    """Those were accepted, and would be sent twice. It is not tried for ever: it would fail again."""

    class Results(Calls):
        def finish_sent(self, sent: Any) -> list[str]:
            ids = [each.claim.id for each in sent]
            self.calls.append(("finish_sent", (ids,), {}))
            if "bad" in ids:
                raise error
            return []

    log = Log()
    log.recorder._results = results = Results()  # type: ignore[assignment]
    claims = [claim("a"), claim("bad"), claim("c")]
    recorded = log.recorder.record_all(claims, [outcome(OutcomeKind.ACCEPTED)] * 3)
    assert [each.email_id for each in recorded] == ["a", "c"]
    assert [ids for _, (ids,), _ in results.calls] == [["a", "bad", "c"], ["a"], ["bad"], ["c"]]


@pytest.mark.parametrize("kind", [OutcomeKind.ACCEPTED, OutcomeKind.DEFERRED])
def test_an_error_of_the_circuit_loses_no_outcome(kind: OutcomeKind) -> None:
    """Alone and in a group."""
    log = Log()
    log.breaker.answers["record_outcome"] = AttributeError("probe_at")
    state = State.SENT if kind is OutcomeKind.ACCEPTED else State.DEFERRED
    assert log.record(outcome(kind)) is state
    [recorded] = log.recorder.record_all([claim()], [outcome(kind)])
    assert recorded.state is state


def test_an_outage_of_the_log_does_not_lose_the_state_of_the_server() -> None:
    """The outcome of the email matters more than the circuit."""
    log = Log()
    log.breaker.answers["record_outcome"] = LogUnavailable("the log does not answer.")
    assert log.record(outcome(OutcomeKind.ACCEPTED)) is State.SENT


def test_addresses_in_a_result_are_masked() -> None:
    """The result goes to the log of the worker and to the result backend."""
    reply = SmtpReply(code=550, text="no such user zoe@example.com")
    result = Log().recorder.record(claim(), outcome(OutcomeKind.REFUSED, reply=reply, stage="rcpt"))
    assert "no such user" in result.text
    assert "zoe@" not in result.text
