"""Emails that match a filter are stopped together, in few statements."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, text

from mailctl.delivery_log.operator_actions import AuditInfo, OperatorActions, StoppedBatch
from mailctl.delivery_log.queries.search import EmailFilter
from mailctl.delivery_log.storage.engine import writing
from mailctl.domain.eligibility import HOLD
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.delivery_log.conftest import Log

AUDIT = AuditInfo(actor="ada", reason="a mistake", bulk_action_id="hold-1")


def hold(log: Log, *, limit: int, after: int = 0, **changed: Any) -> StoppedBatch:
    """Hold the welcome emails of a log that can be held."""
    wanted = EmailFilter(kinds=["welcome"], states=HOLD.allowed_states)
    given: dict[str, Any] = {"own_task_kinds": (), "done": "held", "audit": AUDIT, **changed}
    actions = OperatorActions(log.engine, log.outbox, clock=log.clock)
    return actions.stop_matching(wanted, State.HELD, limit=limit, after=after, **given)


def change(log: Log, email_id: str, values: str) -> None:
    """Set columns of an email."""
    with writing(log.engine) as connection:
        connection.execute(text(f"UPDATE mailctl_emails SET {values} WHERE id = :id"), {"id": email_id})


@contextmanager
def counted(log: Log) -> Iterator[list[str]]:
    """Yield the statements that are executed meanwhile."""
    found: list[str] = []

    def note(_c: object, _r: object, statement: str, *_: object) -> None:
        found.append(statement)

    event.listen(log.engine, "before_cursor_execute", note)
    yield found
    event.remove(log.engine, "before_cursor_execute", note)


def test_each_email_says_who_stopped_it_and_by_which_action(log: Log) -> None:
    """So that all are found again; messages on the broker then do nothing."""
    ids = [log.add(), log.queue(), log.add()]
    batch = hold(log, limit=10)
    assert (batch.stopped, batch.on_broker, batch.others, batch.cursor) == (3, 1, (), None)
    for email in log.history.emails(ids):
        assert (email.state, email.reason_code) == (State.HELD, ReasonCode.STOPPED)
        assert (email.error, email.queued_at) == ("held by ada (hold-1): a mistake", None)
        *_, last = log.history.events(email.id)
        assert (last.state, last.text, last.actor) == (State.HELD, "held: a mistake", "ada")
        assert (last.reason_code, last.at) == (ReasonCode.STOPPED, log.clock.now)
    with log.engine.connect() as connection:
        marks = connection.execute(text("SELECT DISTINCT stopped_by FROM mailctl_emails")).scalars().all()
    assert marks == ["hold-1"]


def test_batches_follow_each_other(log: Log) -> None:
    """Each has the emails after the one before; none gets a second event."""
    ids = [log.add() for _ in range(5)]
    stopped, after = [], 0
    for _ in range(3):
        batch = hold(log, limit=2, after=after)
        stopped.append(batch.stopped)
        after = batch.cursor or 0
    assert (stopped, after) == ([2, 2, 1], 0)
    assert {tuple(log.story(email_id)) for email_id in ids} == {("pending", "held")}


def test_what_cannot_be_stopped_stays_as_it_is(log: Log) -> None:
    """A message that a task of the service sends without asking, and what a worker is sending."""
    own, claimed, sending_alone, mine = log.queue(), log.queue(), log.add(), log.add()
    change(log, own, "is_own_task = true")
    assert log.claim(claimed, worker="w1") is not None
    change(log, sending_alone, "state = 'queued', kind = 'welcome'")
    batch = hold(log, limit=10, own_task_kinds=["welcome"])
    assert (batch.stopped, [email.id for email in batch.others]) == (1, [own, sending_alone])
    assert [log.state(each) for each in (own, claimed, mine)] == [State.QUEUED, State.SENDING, State.HELD]
    # Tasks that ask the log leave a held email alone.
    assert hold(log, limit=10, own_task_kinds=None).stopped == 2


def test_many_take_as_many_statements_as_few(log: Log) -> None:
    """None of them has a value for each email."""
    counts = []
    for number in (2, 30):
        for _ in range(number):
            log.add()
        with counted(log) as statements:
            assert hold(log, limit=1000).stopped == number
        counts.append(len(statements))
        assert max(map(len, statements)) < 2500
    assert counts[0] == counts[1]
