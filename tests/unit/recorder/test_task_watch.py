"""The watch over emails of the service's own tasks: evidence ends them, silence holds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from mailctl.broker.inspector import TasksInHand
from mailctl.broker.messages import BrokerQueue, CeleryMessage
from mailctl.domain.catalog import BUILT_IN_CATALOG
from mailctl.domain.models import CeleryResult, Email
from mailctl.domain.states import State
from mailctl.recorder.task_watch import OwnTaskWatch
from tests.emails import email, utc_now

if TYPE_CHECKING:
    from collections.abc import Collection

    from mailctl.domain.own_tasks import OwnTaskOutcome

LEASE_SECONDS = 60


@dataclass
class Log:
    """Emails of the service's own tasks, and what was recorded about them."""

    emails: list[Email] = field(default_factory=list)
    late: list[Email] = field(default_factory=list)
    ended: dict[str, State] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    why: str = ""
    marked: list[Collection[str]] = field(default_factory=list)

    def published(self, *, limit: int, offset: int, worker_id: str | None) -> list[Email]:
        """Return the emails that have not ended."""
        waiting = [each for each in self.emails if each.id not in (*self.ended, *self.held)]
        return waiting[offset : offset + limit]

    def expire(self, ids: Collection[str], *, sender: str) -> None:
        """Note that emails have expired."""
        self.ended |= dict.fromkeys(ids, State.EXPIRED)

    def held_as_unknown(self, *, since: datetime, limit: int) -> list[Email]:
        """Return the emails of which a result may come late."""
        return self.late

    def finish(self, email_id: str, outcome: OwnTaskOutcome) -> bool:
        """Note how an email ended."""
        self.ended[email_id] = outcome.state
        return True

    def hold_unknown(self, ids: Collection[str], *, why: str) -> int:
        """Note which emails are held."""
        self.held += ids
        self.why = why
        return len(ids)

    def mark_as_own(self, kinds: Collection[str]) -> int:
        """Note the kinds."""
        self.marked.append(kinds)
        return 0


@dataclass
class Broker:
    """A broker with messages, and a result backend."""

    results: dict[str, CeleryResult] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    unacked: list[str] = field(default_factory=list)
    is_in_memory: bool = False
    shows_messages: bool = True
    ready: int | None = None
    in_hand: TasksInHand = field(default_factory=lambda: TasksInHand(ids=frozenset(), is_complete=True))

    def tasks_in_hand(self, ids: Collection[str], *, queues: Collection[str]) -> TasksInHand:
        """Return what workers say."""
        return self.in_hand

    def task_result(self, task_id: str) -> CeleryResult | None:
        """Return the result of a task."""
        return self.results.get(task_id)

    def ready_counts(self, queues: Collection[str]) -> dict[str, int]:
        """Return the number of messages in each queue."""
        return dict.fromkeys(queues, len(self.ids))

    def inspect_queues(self, queues: Collection[str]) -> dict[str, BrokerQueue]:
        """Return the messages of the first queue."""
        empty = BrokerQueue(queue="", ready=0, messages=(), unacked=(), unclaimed=0)
        first, *others = queues
        ready = len(self.ids) if self.ready is None else self.ready
        shown = self.shows_messages
        messages = tuple(map(message, self.ids)) if shown else None
        unacked = tuple(map(message, self.unacked)) if shown else None
        found = BrokerQueue(queue=first, ready=ready, messages=messages, unacked=unacked, unclaimed=0)
        return {first: found} | dict.fromkeys(others, empty)


def message(task_id: str) -> CeleryMessage:
    """Return a message of the service's task."""
    return CeleryMessage(task_id=task_id, task="t", queue="q", email_ids=(), to=None, is_from_mailctl=False)


def published(email_id: str = "e1", *, seconds_ago: float = 120) -> Email:
    """Return an email that was published for a task of the service."""
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return email(State.QUEUED, id=email_id, queued_at=at, expires_at=None, is_own_task=True)


MakeWatch = Callable[..., OwnTaskWatch]


@pytest.fixture
def make_watch() -> MakeWatch:
    """Makes a watch over a log and a broker."""

    def make(
        log: Log, broker: Broker, *, is_busy: bool = False, name: str = "watched", **settings: Any
    ) -> OwnTaskWatch:
        app = Celery(name, broker="memory://", backend="redis://h", set_as_current=False)
        app.conf.update(settings)
        runtime: Any = SimpleNamespace(
            own_task_emails=log,
            clock=utc_now,
            catalog=BUILT_IN_CATALOG,
            result_translator=None,
            settings=SimpleNamespace(mailctl_lease_seconds=LEASE_SECONDS),
        )
        inspector: Any = broker
        return OwnTaskWatch(runtime, app=app, broker=inspector, worker_id="w-1", is_busy=lambda: is_busy)

    return make


def test_however_many_emails_wait_each_has_its_turn(make_watch: MakeWatch) -> None:
    """Those of one queue do not keep those of another from being looked at."""
    waiting = [published(f"waits-{number}") for number in range(450)]
    log = Log([*waiting, published("gone")])
    watch = make_watch(log, Broker(ids=[each.id for each in waiting]))
    for _ in range(6):
        watch.check()
    assert log.held == ["gone"]


def test_an_email_whose_message_still_waits_expires(make_watch: MakeWatch) -> None:
    """A minute late, as its task may just be running."""
    now = datetime.now(UTC)
    late, recent = (
        replace(published(name), expires_at=now - timedelta(seconds=seconds))
        for name, seconds in (("late", 90), ("recent", 30))
    )
    log = Log([late, recent])
    make_watch(log, Broker(ids=["late", "recent"])).check()
    assert log.ended == {"late": State.EXPIRED}


@pytest.mark.parametrize(("value", "state"), [(True, State.UNCONFIRMED), (False, State.FAILED)])
def test_a_result_ends_an_email(make_watch: MakeWatch, value: bool, state: State) -> None:
    """As it tells."""
    log = Log([published()])
    make_watch(log, Broker({"e1": CeleryResult(state="SUCCESS", text="", value=value)})).check()
    assert log.ended == {"e1": state}


def test_a_message_that_is_gone_without_a_result_is_held_at_the_second_look(make_watch: MakeWatch) -> None:
    """A message that moves to a worker is missing for a moment."""
    log = Log([published()])
    watch = make_watch(log, Broker())
    watch.check()
    assert log.held == []
    watch.check()
    assert log.held == ["e1"]
    assert "no longer on the broker" in log.why


@pytest.mark.parametrize("where", ["ids", "unacked"])
def test_a_message_that_waits_or_is_being_worked_off_is_left_alone(make_watch: MakeWatch, where: str) -> None:
    """Neither is lost."""
    log = Log([published()])
    watch = make_watch(log, Broker(**{where: ["e1"]}))
    watch.check()
    watch.check()
    assert (log.held, log.ended) == ([], {})


@pytest.mark.parametrize(
    ("age", "is_held"), [(LEASE_SECONDS - 5, False), (LEASE_SECONDS + 5, True)], ids=["young", "old"]
)
def test_a_task_has_some_time_to_tell(make_watch: MakeWatch, age: float, is_held: bool) -> None:
    """It may be sending the email."""
    log = Log([published(seconds_ago=age)])
    watch = make_watch(log, Broker())
    watch.check()
    watch.check()
    assert bool(log.held) is is_held


@pytest.mark.parametrize("state", ["STARTED", "RETRY"])
@pytest.mark.parametrize(("age", "is_held"), [(120, False), (400, True)])
def test_a_task_that_runs_has_the_time_limit_of_its_app(
    make_watch: MakeWatch, state: str, age: float, is_held: bool
) -> None:
    """A worker that was killed leaves such a state for good."""
    log = Log([published(seconds_ago=age)])
    watch = make_watch(log, Broker({"e1": CeleryResult(state=state, text="")}), task_time_limit=300)
    watch.check()
    watch.check()
    assert bool(log.held) is is_held


def test_messages_that_were_not_read_may_be_the_missing_ones(make_watch: MakeWatch) -> None:
    """Of a long queue only the first messages are read."""
    log = Log([published()])
    watch = make_watch(log, Broker(ids=["other"], ready=5000))
    watch.check()
    watch.check()
    assert log.held == []


@pytest.mark.parametrize(("ready", "held"), [(0, ["old", "new"]), (1, ["old"]), (2, [])])
def test_a_broker_that_only_counts_has_the_newest_messages(
    make_watch: MakeWatch, ready: int, held: list[str]
) -> None:
    """A queue is first in, first out."""
    log = Log([published("old", seconds_ago=300), published("new", seconds_ago=200)])
    watch = make_watch(log, Broker(shows_messages=False, ready=ready))
    watch.check()
    watch.check()
    assert log.held == held


@pytest.mark.parametrize(
    ("ids", "is_busy", "is_held"), [([], False, True), ([], True, False), (["other"], False, False)]
)
def test_an_idle_worker_has_worked_off_what_was_in_its_memory(
    make_watch: MakeWatch, ids: list[str], is_busy: bool, is_held: bool
) -> None:
    """At once, so that it can end when no work is left."""
    log = Log([published(seconds_ago=0)])
    watch = make_watch(log, Broker(ids=ids, is_in_memory=True), is_busy=is_busy)
    watch.check()
    watch.check()
    assert bool(log.held) is is_held


def test_a_result_may_come_late(make_watch: MakeWatch) -> None:
    """The email was held by then."""
    log = Log(late=[published()])
    make_watch(log, Broker({"e1": CeleryResult(state="SUCCESS", text="", value=False)})).check()
    assert log.ended == {"e1": State.FAILED}


def test_a_result_of_mailctl_itself_tells_nothing_here(make_watch: MakeWatch) -> None:
    """Its task has written to the log."""
    log = Log([published(seconds_ago=0)])
    result = CeleryResult(state="SUCCESS", text="", value={"email_id": "e1"}, is_from_mailctl=True)
    make_watch(log, Broker({"e1": result})).check()
    assert log.ended == {}


def test_the_reason_names_why_results_cannot_be_read(make_watch: MakeWatch) -> None:
    """The operator can correct that."""
    log = Log([published()])
    watch = make_watch(log, Broker(), result_backend="rpc://")
    watch.check()
    watch.check()
    assert "rpc://" in log.why


@pytest.mark.parametrize("shows_messages", [True, False])
@pytest.mark.parametrize(
    ("ids", "is_complete", "age", "is_held"),
    [
        ({"e1"}, True, 120, False),
        ({"e1"}, False, 4000, False),
        ({"e2"}, True, 120, True),
        (set(), False, 120, False),
        (set(), False, 4000, True),
    ],
)
def test_what_a_worker_has_is_not_held(
    make_watch: MakeWatch, shows_messages: bool, ids: set[str], is_complete: bool, age: float, is_held: bool
) -> None:
    """It has fetched the message and is busy, or does not answer: then it has as long as a task may run."""
    log = Log([published(seconds_ago=age)])
    in_hand = TasksInHand(ids=frozenset(ids), is_complete=is_complete)
    watch = make_watch(log, Broker(shows_messages=shows_messages, ready=0, in_hand=in_hand))
    watch.check()
    watch.check()
    assert bool(log.held) is is_held


def test_one_look_of_a_command_is_enough(make_watch: MakeWatch) -> None:
    """It has asked the workers after the broker."""
    emails = [published(seconds_ago=120), published("young", seconds_ago=5)]
    log = Log(emails)
    make_watch(log, Broker()).hold_missing(emails)
    assert log.held == ["e1"]


def test_the_broker_of_mailctl_itself_is_no_proof(make_watch: MakeWatch) -> None:
    """The app of the service may have another one, in which the message waits."""
    log = Log([published()])
    watch = make_watch(log, Broker(), name="mailctl")
    watch.check()
    watch.check()
    assert log.held == []
