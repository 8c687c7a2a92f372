"""An email is claimed, composed, sent and recorded; a batch does it group by group."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.domain.catalog import WELCOME
from mailctl.domain.routing import ServerPlan
from mailctl.domain.states import State
from mailctl.errors import LogUnavailable
from mailctl.settings import GROUPS_QUEUE
from mailctl.worker.delivery import GROUP_SIZE, Delivery
from mailctl.worker.delivery_options import DeliveryOptions, ignore_results
from mailctl.worker.log_backlog import SlowStreak
from tests.unit.worker.fakes import Calls, parts

CAMPAIGN = DeliveryOptions(is_campaign=True)
#: The sessions of the sender.
SESSIONS = 8
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Run(Future[Any]):
    """A run of which nothing is executed; it ends when it is interrupted, or when a test says so."""

    was_interrupted = False

    def interrupt(self) -> None:
        self.was_interrupted = True
        self.set_exception(asyncio.CancelledError())


class EventLoop:
    """An event loop on which nothing runs: attempts end without a result when a test says so."""

    def __init__(self) -> None:
        self.futures: list[Run] = []

    def start(self, coroutine: Any) -> Any:
        coroutine.close()
        self.futures.append(Run())
        return self.futures[-1]

    def end(self) -> None:
        """End all attempts."""
        for future in self.futures:
            future.set_result(None)


class Log:
    """A delivery on a log that remembers calls; its recorder is replaced."""

    def __init__(self, *, claim: Any = None, turn_seconds: float = 60.0) -> None:
        self.claims = Calls(claim=claim)
        self.outbox = Calls(record_failed_message=True, record_from_message={})
        self.event_loop = EventLoop()
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
        self.delivery = Delivery(
            runtime,
            event_loop=self.event_loop,  # type: ignore[arg-type]
            sender=SimpleNamespace(  # type: ignore[arg-type]
                capacity=lambda _: SESSIONS, count_stuck=lambda _, *, is_campaign: 0
            ),
            turn_seconds=turn_seconds,
        )
        self.backlog = Calls(reason_to_leave="", may_take=False)
        self.backlog.streak = SlowStreak()
        self.delivery._backlog = self.backlog  # type: ignore[assignment]
        self.recorder = Calls(expire_if_too_late=None, record_all=(), record="recorded")
        self.delivery._recorder = self.recorder  # type: ignore[assignment]
        self.delivery._in_flight._recorder = self.recorder  # type: ignore[assignment]

    def end(self) -> None:
        """End all attempts, and wait until they are recorded."""
        self.event_loop.end()
        self.delivery.close()


def claimed(*ids: str, unreadable: Any = (), suppressed: Any = None) -> Any:
    """Return what the log answers to a claim."""
    claims = [SimpleNamespace(id=email_id, token="token", plan=ServerPlan()) for email_id in ids]
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


def test_only_what_can_be_sent_now_is_claimed() -> None:
    """After a crash, what was claimed is in doubt; of a campaign one session is left to others."""
    ids = [str(number) for number in range(SESSIONS - 1)]
    log = Log(claim=[claimed(*ids), claimed("next")])
    batch = threading.Thread(
        target=log.delivery.deliver_batch, args=([*ids, "next"],), kwargs={"worker": "w", "options": CAMPAIGN}
    )
    batch.start()
    while not log.event_loop.futures:
        batch.join(0.01)
    assert [args[0] for name, args, _ in log.claims.calls if name == "claim"] == [ids]
    log.event_loop.end()
    batch.join()
    assert [args[0] for name, args, _ in log.claims.calls if name == "claim"] == [ids, ["next"]]
    log.event_loop.futures = log.event_loop.futures[1:]
    log.end()


def test_what_was_not_reached_in_time_goes_back_to_the_log() -> None:
    """Others have their turn, although nothing has ended."""
    ids = [str(number) for number in range(SESSIONS)]
    log = Log(claim=claimed(*ids[:-1]), turn_seconds=0.0)
    assert log.delivery.deliver_batch(ids, worker="w", options=CAMPAIGN) == SESSIONS - 1
    [returned] = [args for name, args, _ in log.claims.calls if name == "return_unstarted"]
    assert returned == (ids[-1:],)
    log.end()


def test_an_outage_in_the_middle_of_a_batch_leaves_what_was_started() -> None:
    """Then the error reaches the task, which returns its message to the broker."""
    ids = [str(number) for number in range(GROUP_SIZE + 1)]
    log = Log(claim=[claimed("a"), LogUnavailable("the log does not answer.")])
    with pytest.raises(LogUnavailable):
        log.delivery.deliver_batch(ids, worker="w", options=CAMPAIGN)
    assert [run.was_interrupted for run in log.event_loop.futures] == [False]
    log.end()
    assert "record_all" in log.recorder.names


def test_a_single_email_that_takes_long_goes_on_by_itself() -> None:
    """Its task returns, and its result comes when it is recorded."""
    log, told = Log(claim=claimed("a"), turn_seconds=0.0), []
    result = log.delivery.deliver("a", worker="w", options=DeliveryOptions(on_recorded=told.extend))
    assert (result.state, log.recorder.names) == (State.SENDING, ["expire_if_too_late"])
    log.recorder.answers["record_all"] = [[SimpleNamespace(email_id="a")]]
    log.end()
    assert [each.email_id for each in told] == ["a"]


def test_a_single_email_waits_for_its_turn_while_others_take_long() -> None:
    """It goes back to the log if there is no room; one that the log does not have yet is recorded first."""
    ids = [str(number) for number in range(SESSIONS)]
    log = Log(claim=claimed(*ids), turn_seconds=0.0)
    log.delivery.deliver_batch(ids, worker="w")
    log.claims.answers["return_unstarted"] = [1, 0]
    states = [log.delivery.deliver("a", worker="w").state for _ in range(2)]
    assert states == [State.PENDING, None]
    assert log.claims.names.count("claim") == 1
    log.end()


def test_emails_are_left_to_others_that_send_them_sooner() -> None:
    """But for one whose publication is not recorded soon: it would be recorded after the return."""
    log, options = Log(claim=claimed()), DeliveryOptions(queue="celery")
    log.backlog.answers["reason_to_leave"] = "so it is"
    log.claims.answers["return_unstarted"] = 1
    result = log.delivery.deliver("a", worker="w", options=options)
    assert (result.state, result.text) == (State.PENDING, "so it is")
    assert log.delivery.deliver_batch(["b"], worker="w", options=options) == 0
    assert set(log.claims.names) == {"return_unstarted"}
    log.claims.answers["return_unstarted"] = 0
    assert log.delivery.deliver("c", worker="w", options=options).state is None
    assert log.claims.names[-2:] == ["return_unstarted", "claim"]
    log.claims.answers["return_unstarted"] = [0, 0, 1]
    assert log.delivery.deliver("d", worker="w", options=options).text == "so it is"
    queues = [how["queue"] for name, _, how in log.backlog.calls if name == "reason_to_leave"]
    assert queues == ["celery", GROUPS_QUEUE, "celery", "celery"]
    log.delivery.close()


def test_an_outage_after_an_email_was_sent_is_no_error_of_its_task() -> None:
    """Nothing of what its message was for is left to do."""
    log = Log(claim=claimed())
    log.backlog.answers["may_take"] = LogUnavailable("the log does not answer.")
    assert log.delivery.deliver_batch(["a"], worker="w") == 0
    log.end()


def test_emails_that_wait_in_the_log_are_taken_while_sessions_are_in_use() -> None:
    """With the options of the last message, but for its time limit; not after the end."""
    log, told = Log(claim=[claimed(), claimed("waiting")]), []
    log.backlog.answers |= {"may_take": True, "find_waiting": [["waiting"], *([[]] * 1000)]}
    log.delivery.deliver("a", worker="w", options=DeliveryOptions(on_recorded=told.extend))
    while not log.event_loop.futures:
        time.sleep(0)
    assert [args for name, args, _ in log.claims.calls if name == "claim"][1] == (["waiting"],)
    log.recorder.answers["record_all"] = [[SimpleNamespace(email_id="waiting")]]
    log.end()
    assert [each.email_id for each in told] == ["waiting"]


def test_no_email_is_taken_from_the_log_after_the_end() -> None:
    """Which may come while the log is asked."""
    log = Log(claim=claimed())
    log.delivery.deliver("a", worker="w")

    def close() -> bool:
        log.delivery._taking = None
        return True

    log.backlog.may_take = close
    assert log.delivery._take_waiting() is False
    log.end()


def test_a_process_that_sends_a_campaign_takes_other_emails_that_wait_in_the_log() -> None:
    """It may have all sessions: a password reset would wait for the end of the campaign."""
    log, told = Log(claim=[claimed("a"), claimed("reset")]), []
    log.backlog.answers |= {"may_take": True, "find_waiting": [["reset"], *([[]] * 1000)]}
    log.delivery.deliver_batch(["a"], worker="w", options=replace(CAMPAIGN, on_recorded=told.extend))
    while len(log.event_loop.futures) < 2:
        time.sleep(0)
    sending = log.delivery._in_flight._sending.values()
    assert {claim.id: (group.is_campaign, group.on_recorded) for claim, group in sending} == {
        "a": (True, ignore_results),
        "reset": (False, told.extend),
    }
    log.end()


def test_an_interrupted_batch_cancels_what_it_started() -> None:
    """Such as by Celery's time limit."""
    log = Log(claim=[claimed("a"), KeyboardInterrupt()])
    ids = [str(number) for number in range(SESSIONS - 1)]
    with pytest.raises(KeyboardInterrupt):
        log.delivery.deliver_batch(ids * 2, worker="w", options=CAMPAIGN)
    assert [run.was_interrupted for run in log.event_loop.futures] == [True]
    log.delivery.close()
    # It is recorded at once that it was interrupted; nobody waits for the end of its lease.
    [(claims, results)] = [args for name, args, _ in log.recorder.calls if name == "record_all"]
    assert ([claim.id for claim in claims], [type(each) for each in results]) == (
        ["a"],
        [asyncio.CancelledError],
    )


def test_an_interrupted_single_email_is_recorded_when_it_has_ended() -> None:
    """The exception reaches the task, and its email does not wait for the end of the lease."""
    log = Log(claim=claimed("a"))

    def interrupt_main() -> None:
        while not (log.event_loop.futures and log.event_loop.futures[0]._waiters):
            time.sleep(0)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        log.delivery.deliver("a", worker="w")
    log.delivery.close()
    assert [run.was_interrupted for run in log.event_loop.futures] == [True]
    assert log.recorder.names == ["expire_if_too_late", "record_all"]


def test_an_invalid_message_is_recorded_as_failed() -> None:
    """The reason is one line, and shortened."""
    log = Log()
    result = log.delivery.record_invalid_message("a\n", WELCOME, {}, queue="celery", reason="x\n" * 500)
    [(_, (draft,), kwargs)] = log.outbox.calls
    assert (result.state, result.email_id) == (State.FAILED, draft.id)
    assert "\n" not in kwargs["reason"]
