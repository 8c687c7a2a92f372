"""An email is claimed, composed, sent and recorded; a batch does it group by group."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.domain.catalog import WELCOME
from mailctl.domain.models import State
from mailctl.errors import LogUnavailable
from mailctl.worker.delivery import GROUP_SIZE, Delivery, _valid_id
from tests.unit.worker.fakes import Calls, parts

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Future:
    """The result of a group."""

    def __init__(self) -> None:
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class EventLoop:
    """An event loop on which nothing runs: every attempt has no result."""

    def __init__(self, *, error: BaseException | None = None) -> None:
        self.futures: list[Future] = []
        self._error = error

    def start(self, coroutine: Any) -> Any:
        coroutine.close()
        self.futures.append(Future())
        return self.futures[-1]

    def wait(self, _future: Any, *, every_seconds: float, meanwhile: Any) -> Any:
        assert every_seconds == 20
        meanwhile()
        if self._error:
            raise self._error
        return []


class Log:
    """A delivery on a log that remembers calls; its recorder is replaced."""

    def __init__(self, *, claim: Any = None, error: BaseException | None = None) -> None:
        self.claims = Calls(claim=claim)
        self.outbox = Calls(record_failed_message=True, record_from_message={})
        self.event_loop = EventLoop(error=error)
        runtime = parts(
            outbox=self.outbox,
            claims=self.claims,
            attempt_results=None,
            history=Calls(),
            settings=SimpleNamespace(mailctl_lease_seconds=60, debug=False),
            composer=None,
            argument_rules=None,
            catalog=None,
            circuits=None,
            retry_policy=None,
        )
        self.delivery = Delivery(runtime, event_loop=self.event_loop, sender=None)  # type: ignore[arg-type]
        self.recorder = Calls(expire_if_too_late=None, record_all=7)
        self.delivery._recorder = self.recorder  # type: ignore[assignment]


def claimed(*ids: str, unreadable: Any = (), suppressed: Any = None) -> Any:
    """Return what the log answers to a claim."""
    claims = [SimpleNamespace(id=email_id) for email_id in ids]
    return SimpleNamespace(claims=claims, unreadable=unreadable, suppressed=suppressed or {})


@pytest.mark.parametrize(
    ("answer", "state", "text"),
    [
        (claimed(), None, "nothing to do"),
        (claimed(unreadable=[("a", "another SECRET_KEY")]), State.DEFERRED, "another SECRET_KEY"),
        (claimed(suppressed={"a": "a hard bounce"}), State.SUPPRESSED, "a hard bounce"),
    ],
)
def test_an_email_that_cannot_be_claimed_is_not_sent(answer: Any, state: State | None, text: str) -> None:
    """The result says why."""
    log = Log(claim=answer)
    result = log.delivery.deliver("a", worker="w")
    assert (result.state, result.text) == (state, text)
    assert log.event_loop.futures == []


def test_a_batch_is_sent_in_groups() -> None:
    """The number of sent emails is that of all groups."""
    ids = [str(number) for number in range(GROUP_SIZE + 1)]
    log = Log(claim=claimed("a"))
    assert log.delivery.deliver_batch(ids, worker="w") == 14
    assert [len(args[0]) for name, args, _ in log.claims.calls if name == "claim"] == [GROUP_SIZE, 1]


def test_an_outage_in_the_middle_of_a_batch_records_what_was_sent() -> None:
    """Then the error reaches the task, which returns its message to the broker."""
    ids = [str(number) for number in range(GROUP_SIZE + 1)]
    log = Log(claim=[claimed("a"), LogUnavailable("the log does not answer.")])
    with pytest.raises(LogUnavailable):
        log.delivery.deliver_batch(ids, worker="w")
    assert log.recorder.names.count("record_all") == 1


def test_leases_are_extended_during_the_wait() -> None:
    """An outage of the log does not interrupt it."""
    log = Log(claim=claimed("a"))
    log.claims.answers["extend"] = LogUnavailable("the log does not answer.")
    assert log.delivery.deliver_batch(["a"], worker="w") == 7
    assert "extend" in log.claims.names


def test_an_interrupted_wait_cancels_what_was_started() -> None:
    """Such as Celery's time limit."""
    log = Log(claim=claimed("a"), error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        log.delivery.deliver_batch(["a"], worker="w")
    assert [future.is_cancelled for future in log.event_loop.futures] == [True]


def test_an_invalid_message_is_recorded_as_failed() -> None:
    """The reason is one line, and shortened."""
    log = Log()
    result = log.delivery.record_invalid_message("a\n", WELCOME, {}, queue="celery", reason="x\n" * 500)
    [(_, (draft,), kwargs)] = log.outbox.calls
    assert (result.state, result.email_id) == (State.FAILED, draft.id)
    assert "\n" not in kwargs["reason"]


def test_an_invalid_id_is_replaced_by_one_that_is_always_the_same() -> None:
    """So that a redelivered message is recorded once."""
    assert _valid_id("an-id") == "an-id"
    assert _valid_id("a\n") == _valid_id("a\n") != _valid_id("b\n")
