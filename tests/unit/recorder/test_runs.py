"""Runs of own tasks: claimed, recorded when they end, and never kept from running by the log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import Ignore, Reject

from mailctl import runtime
from mailctl.delivery_log.pauses import PauseScope
from mailctl.domain.catalog import GENERIC
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.domain.task_mapping import OwnTask
from mailctl.recorder import runs, writer
from mailctl.recorder.calls import drafts_of, make_call
from mailctl.recorder.runs import MessageDelivery, TaskRun
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mailctl.domain.models import Draft, Email

TASK = OwnTask(name="shop.send", kind="email", addresses=("to",))
NOTHING = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture(autouse=True)
def fresh_log(tmp_path: Path) -> Iterator[None]:
    """A delivery log of the test's own, and no memory of another's failures."""
    writer._health.pop()
    runtime.configure(Settings(mailctl_home=tmp_path))
    yield
    writer.flush()
    writer._health.pop()
    runtime.close()


def drafts() -> list[Draft]:
    """Return the email of the message."""
    call = make_call(TASK, "m1", (), {"to": "zoe@example.com"}, parameters=(), queue="shop")
    assert call is not None
    return drafts_of(call, GENERIC, now=datetime.now(UTC))


def execute(run: Callable[[], Any] = lambda: True, *, retries: int = 0) -> list[TaskRun]:
    """Execute a run; return it if it has claimed its email."""
    claimed: list[TaskRun] = []
    delivery = MessageDelivery(worker="w", retries=retries, is_redelivered=False)
    runs.execute(run, drafts=drafts, delivery=delivery, on_claimed=claimed.append)
    return claimed


def outcome(_task: str, value: object) -> str | None:
    """Say what a value means, as MAILCTL_RESULT_OUTCOME does."""
    return "sent" if isinstance(value, str) else None


def email() -> Email:
    """Return the email."""
    [found] = runtime.current().history.emails(["m1"])
    return found


def test_a_run_is_claimed_and_its_end_recorded() -> None:
    """By what the task told, as no mail server was asked."""
    [run] = execute()
    assert email().state is State.SENDING
    runs.finish(run, "SUCCESS", {"success": False}, task="shop.send")
    assert (email().state, email().reason_code) == (State.FAILED, ReasonCode.OWN_TASK_FAILED)


def test_a_second_run_is_ignored() -> None:
    """The task is not called."""
    execute()
    called: list[int] = []
    with pytest.raises(Ignore, match="another worker has claimed it"):
        execute(lambda: called.append(1))
    assert called == []


def test_a_log_that_is_down_lets_the_task_run() -> None:
    """Without a claim."""
    runtime.close()
    runtime.configure(Settings(mailctl_database_url=NOTHING))
    called: list[int] = []
    [run] = execute(lambda: called.append(1))
    assert (called, run.claims) == ([1], ())


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize(
    ("told", "state"), [(True, State.UNCONFIRMED), (False, State.FAILED), ("250 ok", State.SENT)]
)
def test_what_ran_while_the_log_was_down_is_recorded_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: object, state: State, is_known: bool
) -> None:
    """Whether the log knew of the message or not; a pause that came meanwhile does not send it again."""
    monkeypatch.setattr(writer, "BACKOFF_SECONDS", 0.0)
    spec = "tests.unit.recorder.test_runs:outcome"
    settings = Settings(mailctl_home=tmp_path, mailctl_result_outcome=spec)
    if is_known:
        runtime.current().own_task_claims.record(drafts())
    runtime.current().pauses.pause(PauseScope.KIND, "email", actor="zoe", reason="")
    runtime.close()
    runtime.configure(Settings(mailctl_database_url=NOTHING))
    [run] = execute()
    runs.finish(run, "SUCCESS", told, task="shop.send")
    runtime.close()
    runtime.configure(settings)
    writer.flush()
    assert (email().state, email().attempts) == (state, 1)


def test_a_retry_while_the_log_is_down_is_left_to_the_next_run(tmp_path: Path) -> None:
    """Which claims the email, or records what became of it."""
    runtime.close()
    runtime.configure(Settings(mailctl_database_url=NOTHING))
    [run] = execute()
    runs.retry(run, until=None)
    runs.finish(run, "RETRY", None, task="shop.send")
    runtime.close()
    writer._health.pop()
    runtime.configure(Settings(mailctl_home=tmp_path))
    [again] = execute(retries=1)
    runs.finish(again, "SUCCESS", False, task="shop.send")
    assert email().state is State.FAILED


def test_a_message_without_emails_lets_the_task_run() -> None:
    """Its id is not one that an email can have."""
    called: list[int] = []
    delivery = MessageDelivery(worker="w", retries=0, is_redelivered=False)
    runs.execute(lambda: called.append(1), drafts=list, delivery=delivery, on_claimed=lambda _: None)
    assert called == [1]


def test_a_retry_defers_and_may_claim_again() -> None:
    """Before its message is published, which another worker may take at once."""
    [run] = execute()
    runs.retry(run, until=None)
    runs.finish(run, "RETRY", None, task="shop.send")
    assert email().state is State.DEFERRED
    assert len(execute(retries=1)) == 1
    assert email().attempts == 2


def test_a_retry_that_cannot_be_published_has_failed() -> None:
    """Celery rejects the message, so nobody will run it."""
    [run] = execute()
    runs.retry(run, until=None)
    runs.finish(run, "REJECTED", Reject("no broker", requeue=False), task="shop.send")
    assert email().state is State.FAILED


def test_an_outcome_is_written_when_the_log_is_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the background."""
    monkeypatch.setattr(writer, "BACKOFF_SECONDS", 0.0)
    [run] = execute()
    runtime.close()
    runtime.configure(Settings(mailctl_database_url=NOTHING))
    runs.finish(run, "SUCCESS", False, task="shop.send")
    runtime.close()
    runtime.configure(Settings(mailctl_home=tmp_path))
    writer.flush()
    assert email().state is State.FAILED


def test_the_leases_of_runs_are_extended() -> None:
    """Of those that have not ended."""
    [run] = execute()
    before = email().lease_until
    runs._leases.extend(runtime.current())
    assert before is not None
    assert (email().lease_until or before) > before
    runs.finish(run, "SUCCESS", None, task="shop.send")
    assert email().lease_until is None
