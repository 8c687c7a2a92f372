"""Stuck emails are recovered from expired leases, dead workers and lost messages."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from mailctl.broker.inspector import MessageCounts
from mailctl.delivery_log.due import BATCH_SIZE, GROUP_SIZE
from mailctl.delivery_log.reports import RecordedReports
from mailctl.domain.catalog import BUILT_IN_CATALOG
from mailctl.errors import LogUnavailable
from mailctl.settings import BULK_QUEUE, GROUPS_QUEUE
from mailctl.worker.stuck_emails import StuckEmails
from tests.emails import utc_now
from tests.unit.worker.fakes import Broker, Calls, parts

LEASE_SECONDS = 60


def make(
    broker: Broker,
    *,
    recovery: Calls,
    queues: tuple[str, ...] = ("celery",),
    rollup: Calls | None = None,
    **more: Any,
) -> StuckEmails:
    """Return stuck emails with an app without overridden tasks."""
    settings = SimpleNamespace(
        mailctl_lease_seconds=LEASE_SECONDS, mailctl_retry_cap_seconds=3600, resends_in_doubt=0
    )
    runtime = parts(
        settings=settings,
        recovery=recovery,
        workers=Calls(list_alive=[[SimpleNamespace(id="w-1", queues=("celery", GROUPS_QUEUE))]]),
        history=Calls(queues_with_unclaimed=queues),
        app=Celery("stuck", broker="memory://", set_as_current=False),
        own_task_emails=Calls(published=(), published_in_full=(), held_as_unknown=()),
        circuits=None,
        clock=utc_now,
        refusals=Calls(),
        feedback_reports=Calls(settle=RecordedReports()),
        campaign_guard=Calls(pause_failing=()),
        catalog=BUILT_IN_CATALOG,
        rollup=rollup or Calls(),
        engine=SimpleNamespace(dialect=SimpleNamespace(name="sqlite")),
    )
    return StuckEmails(runtime, broker=broker, worker_id="w-1", **more)  # type: ignore[arg-type]


def returned(recovery: Calls) -> list[dict[str, Any]]:
    """Return the arguments of each search for lost messages."""
    return [kwargs for name, _, kwargs in recovery.calls if name == "return_lost"]


def test_stale_leases_are_released_and_orphans_are_returned() -> None:
    """A live worker's emails are not orphans."""
    recovery = Calls()
    make(Broker(is_in_memory=True), recovery=recovery).recover()
    assert [call for call in recovery.calls if call[0] != "release_of_dead_processes"] == [
        ("release_stale", (), {"max_resends": 0}),
        ("expire", (), {}),
        ("return_orphans", (), {"alive": ["w-1"]}),
    ]


def test_what_dead_processes_were_sending_is_released_whether_or_not_leases_are_trusted() -> None:
    """Again and again, since the log may not answer at first; processes that live are left alone."""
    recovery = Calls(release_of_dead_processes=[LogUnavailable("down"), 2])
    stuck = make(Broker(is_in_memory=True), recovery=recovery, list_processes=lambda: [os.getppid()])
    stuck.distrust_leases()
    with pytest.raises(LogUnavailable):
        stuck.recover()
    stuck.recover()
    asked = [kwargs for name, _, kwargs in recovery.calls if name == "release_of_dead_processes"]
    assert [each["max_resends"] for each in asked] == [0, 0]
    assert {os.getpid(), os.getppid()} <= asked[0]["list_alive"]()


def test_the_rollup_advances() -> None:
    """Every relay takes part."""
    rollup = Calls()
    stuck = make(Broker(is_in_memory=True), recovery=Calls(), rollup=rollup)
    stuck.recover()
    assert rollup.names == ["advance"]


def test_leases_are_not_released_after_an_outage_of_the_log() -> None:
    """A live worker had no chance to extend them."""
    recovery = Calls()
    stuck = make(Broker(is_in_memory=True), recovery=recovery)
    stuck.distrust_leases()
    stuck.recover()
    assert "release_stale" not in recovery.names


def test_emails_beyond_the_depth_of_the_queue_are_lost() -> None:
    """Workers may hold some of the messages; those of a killed worker are lost after a lease."""
    recovery = Calls(return_lost=0)
    make(Broker(celery=MessageCounts(ready=3, unacked=2)), recovery=recovery).recover()
    first, second = returned(recovery)
    assert (first["queue"], first["on_broker"], second["on_broker"]) == ("celery", 5, 3)
    assert second["queued_before"] <= datetime.now(UTC) - timedelta(seconds=LEASE_SECONDS)


def test_without_unacknowledged_messages_one_search_is_enough() -> None:
    """A message of a campaign is a batch of emails."""
    recovery = Calls(return_lost=0)
    broker = Broker(**{BULK_QUEUE: MessageCounts(ready=2, unacked=0)})
    make(broker, recovery=recovery, queues=(BULK_QUEUE,)).recover()
    assert [each["on_broker"] for each in returned(recovery)] == [2 * BATCH_SIZE]


def test_a_message_of_a_group_is_several_emails() -> None:
    """So fewer are lost than the emails outnumber the messages."""
    recovery = Calls(return_lost=0)
    broker = Broker(**{GROUPS_QUEUE: MessageCounts(ready=2, unacked=1)})
    make(broker, recovery=recovery, queues=(GROUPS_QUEUE,)).recover()
    assert [each["on_broker"] for each in returned(recovery)] == [3 * GROUP_SIZE, 2 * GROUP_SIZE]


def test_groups_that_no_worker_takes_are_returned() -> None:
    """Their emails travel one by one then."""
    recovery = Calls(return_lost=0)
    stuck = make(Broker(celery=MessageCounts(ready=0, unacked=0)), recovery=recovery)
    stuck._runtime.workers.answers["list_alive"] = [[SimpleNamespace(id="w-1", queues=("celery",))]]
    stuck.recover()
    assert "return_groups" in recovery.names


def test_on_a_broker_that_hides_unacknowledged_messages_only_waiting_ones_are_there() -> None:
    """An email whose message a worker has held for a lease is published again; only one of them claims it."""
    recovery = Calls(return_lost=0)
    make(Broker(celery=MessageCounts(ready=3, unacked=None)), recovery=recovery).recover()
    [search] = returned(recovery)
    assert search["on_broker"] == 3
    lease = timedelta(seconds=LEASE_SECONDS)
    assert lease <= datetime.now(UTC) - search["queued_before"] < 2 * lease


def test_lost_messages_are_searched_at_an_interval() -> None:
    """Not at every recovery."""
    recovery = Calls(return_lost=0)
    stuck = make(Broker(celery=MessageCounts(ready=0, unacked=0)), recovery=recovery)
    stuck._runtime.workers.answers["list_alive"] = ()
    stuck.recover()
    stuck.recover()
    assert len(returned(recovery)) == 1
