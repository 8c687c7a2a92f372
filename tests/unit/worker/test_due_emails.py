"""Due emails are published in batches; campaigns are paced, and an open circuit lets only a probe through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.broker.inspector import MessageCounts
from mailctl.delivery_log.due import BATCH_SIZE, GROUP_SIZE, GroupableEmails
from mailctl.enqueue.grouping import MAX_GROUPS_ON_BROKER, MAX_SINGLE_EMAILS, batch_size
from mailctl.settings import BULK_QUEUE
from mailctl.worker.due_emails import MAX_BATCHES_ON_BROKER, DueEmails
from tests.unit.worker.fakes import Broker, Calls, parts

if TYPE_CHECKING:
    from collections.abc import Collection


class Publisher(Calls):
    """A publisher to a broker that answers."""

    is_backing_off = False

    def __init__(
        self, *, queues: Collection[str] = (), waiting: int = 0, groups: Any = 0, **answers: Any
    ) -> None:
        super().__init__(**answers)
        groupable = GroupableEmails(queues=frozenset(queues))
        self.groups = Calls(groupable=groupable, count=waiting, publish_due=groups)


def make(
    publisher: Publisher,
    *,
    publications: Calls,
    circuit: Any = None,
    has_campaign: bool = False,
    on_broker: int = 0,
    pace: float = 0.0,
    are_sessions_in_use: bool = False,
) -> DueEmails:
    """Return due emails with these parts."""
    runtime = parts(
        pauses=Calls(),
        circuits=Calls(read=circuit),
        publications=publications,
        campaigns=Calls(has_due=has_campaign, pace=pace),
    )
    broker: Any = Broker(**{BULK_QUEUE: MessageCounts(ready=on_broker, unacked=0)})
    backlog: Any = Calls(are_sessions_in_use=are_sessions_in_use)
    return DueEmails(
        runtime,
        publisher=publisher,  # type: ignore[arg-type]
        broker=broker,
        backlog=backlog,
        is_stopped=lambda: False,
    )


def test_everything_due_is_published_in_batches() -> None:
    """Until the log has no more."""
    publisher, publications = Publisher(), Calls(reserve_due=[["a"], ["b"], []])
    make(publisher, publications=publications).publish()
    assert [args for name, args, _ in publisher.calls if name == "publish_all"] == [(["a"],), (["b"],)]
    assert publications.calls[0] == ("reserve_due", (), {"limit": BATCH_SIZE, "besides": None})


def test_a_few_emails_are_published_one_by_one() -> None:
    """Although they might travel in a group."""
    publisher = Publisher(queues=["celery"])
    publications = Calls(count_due=MAX_SINGLE_EMAILS, reserve_due=[["a"], []])
    due = make(publisher, publications=publications)
    due.publish()
    assert publisher.groups.names == ["groupable"]
    assert (publisher.names[0], due.has_backlog) == ("publish_all", False)


def test_a_backlog_is_published_in_groups_up_to_a_number() -> None:
    """The others wait in the log, and the relay comes back soon."""
    publisher = Publisher(queues=["celery"], groups=GROUP_SIZE)
    publications = Calls(count_due=MAX_SINGLE_EMAILS + 1, reserve_due=[[]])
    due = make(publisher, publications=publications)
    due.publish()
    assert publisher.groups.names.count("publish_due") == MAX_GROUPS_ON_BROKER
    assert due.has_backlog


def test_nothing_is_published_in_groups_while_all_sessions_are_in_use() -> None:
    """Processes that have some take such emails from the log; others are published."""
    publisher = Publisher(queues=["celery"], groups=GROUP_SIZE)
    publications = Calls(reserve_due=[["other"], []])
    due = make(publisher, publications=publications, are_sessions_in_use=True)
    due.publish()
    assert publisher.groups.names == ["groupable"]
    assert [kwargs["besides"] for _, _, kwargs in publications.calls] == [
        GroupableEmails(queues=frozenset({"celery"}))
    ] * 2
    assert due.has_backlog, "so that the relay comes back soon"


def test_groups_are_published_until_there_is_no_backlog() -> None:
    """What is left when no group waits any more is published one by one again."""
    publisher = Publisher(queues=["celery"], waiting=MAX_GROUPS_ON_BROKER - 2, groups=[50, 50, 0])
    publications = Calls(count_due=MAX_SINGLE_EMAILS + 1, reserve_due=[[], []])
    due = make(publisher, publications=publications)
    due.has_groups = True
    due.publish()
    assert publisher.groups.names.count("publish_due") == 2
    publisher.groups.answers["count"] = 0
    publications.answers["count_due"] = 1
    due.publish()
    assert not due.has_backlog


def test_a_backlog_keeps_no_email_waiting_that_travels_alone() -> None:
    """Such as one for a task of the service; they are looked for at an interval."""
    publisher = Publisher(queues=["celery"], groups=GROUP_SIZE)
    publications = Calls(count_due=MAX_SINGLE_EMAILS + 1, reserve_due=[["other"], []])
    due = make(publisher, publications=publications)
    due.publish()
    due.publish()
    searches = [kwargs for name, _, kwargs in publications.calls if name == "reserve_due"]
    besides = GroupableEmails(queues=frozenset({"celery"}))
    assert searches == [{"limit": BATCH_SIZE, "besides": besides}] * 2
    assert publisher.names.count("publish_all") == 1


def test_nothing_is_reserved_while_the_broker_is_given_a_rest() -> None:
    """The publisher backs off after an error."""
    publisher, publications = Publisher(), Calls()
    publisher.is_backing_off = True
    make(publisher, publications=publications).publish()
    assert (publisher.calls, publications.calls) == ([], [])


def test_a_campaign_fills_the_broker_up_to_a_number_of_batches() -> None:
    """The others wait in the log."""
    publisher = Publisher(is_consumed=True, publish_batch=True, count_slots=2)
    due = make(publisher, publications=Calls(), has_campaign=True, on_broker=MAX_BATCHES_ON_BROKER - 3)
    due.publish()
    assert publisher.names.count("publish_batch") == 3
    assert due.has_campaign


def test_a_slow_mail_server_gets_small_batches() -> None:
    """A worker process would not reach the others in its turn."""
    publisher = Publisher(is_consumed=True, publish_batch=[20, 0], count_slots=2)
    make(publisher, publications=Calls(), has_campaign=True, pace=50.0).publish()
    [first, _] = [kwargs for name, _, kwargs in publisher.calls if name == "publish_batch"]
    assert first == {"limit": batch_size(pace=50.0, slots=2)}


def test_a_slow_mail_server_gets_small_groups() -> None:
    """What a worker does not reach in its turn goes back to the log with two events, and comes again."""
    publisher = Publisher(queues=["celery"], groups=0, count_slots=2)
    publications = Calls(count_due=MAX_SINGLE_EMAILS + 1, reserve_due=[[]])
    make(publisher, publications=publications, pace=50.0).publish()
    [first] = [kwargs for name, _, kwargs in publisher.groups.calls if name == "publish_due"]
    assert first == {"limit": batch_size(pace=50.0, slots=2, most=GROUP_SIZE)}
    assert first["limit"] < GROUP_SIZE


def test_a_campaign_waits_for_a_worker_that_consumes_its_queue() -> None:
    """Its batches would stay on the broker."""
    publisher = Publisher(is_consumed=False, publish_batch=True)
    due = make(publisher, publications=Calls(), has_campaign=True)
    due.publish()
    assert "publish_batch" not in publisher.names
    assert not due.has_campaign


@pytest.mark.parametrize(
    ("has_single", "has_campaign", "is_consumed", "expected"),
    [
        (True, False, True, True),
        (False, True, True, True),
        (False, True, False, False),
        (False, False, True, False),
    ],
)
def test_emails_are_due_that_this_relay_may_publish(
    has_single: bool, has_campaign: bool, is_consumed: bool, expected: bool
) -> None:
    """Single emails, and those of campaigns if a worker consumes their queue."""
    publisher, publications = Publisher(is_consumed=is_consumed), Calls(has_due=has_single)
    due = make(publisher, publications=publications, has_campaign=has_campaign)
    assert due.are_any_due() is expected


def open_circuit(*, probe_in_seconds: float) -> Any:
    probe_at = datetime.now(UTC) + timedelta(seconds=probe_in_seconds)
    return SimpleNamespace(is_open=True, probe_at=probe_at)


def test_an_open_circuit_lets_one_email_through() -> None:
    """From a campaign if nothing else is due."""
    publisher, publications = Publisher(publish_all=0), Calls(reserve_due=[[]])
    make(publisher, publications=publications, circuit=open_circuit(probe_in_seconds=-1)).publish()
    assert publications.calls == [("reserve_due", (), {"limit": 1, "only_routes": ()})]
    assert publisher.calls[-1] == ("publish_batch", (), {"limit": 1, "only_routes": ()})


def test_an_open_circuit_lets_nothing_through_before_its_probe() -> None:
    """Not even from a campaign."""
    publisher, publications = Publisher(), Calls()
    make(publisher, publications=publications, circuit=open_circuit(probe_in_seconds=60)).publish()
    assert (publisher.calls, publications.calls) == ([], [])
