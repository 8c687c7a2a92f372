"""Workers as JSON."""

from __future__ import annotations

from dataclasses import replace

from mailctl.delivery_log.queries.queue_stats import Throughput
from mailctl.errors import BrokerUnavailable
from mailctl.monitoring.worker_signals import StopResult
from mailctl.monitoring.workers import PingResult, WorkerList, WorkerStatus
from mailctl.views.workers import WorkerListView, WorkerStopView, WorkerView
from tests.emails import NOW
from tests.workers import IDENTITY

WORKER = WorkerStatus(
    name="celery@web",
    host="web",
    pid=7,
    pool="threads",
    concurrency=2,
    queues=("celery", "mailctl.bulk"),
    busy=1,
    throughput=Throughput(last_minute=3, last_five_minutes=12),
    since=NOW,
    shares_log=True,
    answer=PingResult.NO_ANSWER,
    can_be_stopped=True,
)


def test_a_worker_has_its_throughput() -> None:
    """The answer to a ping is one of three words."""
    printed = WorkerView.of(WORKER).as_json()
    assert (printed["sent_last_minute"], printed["sent_last_five_minutes"]) == (3, 12)
    assert (printed["answers"], printed["since"]) == ("no answer", "2026-03-01T12:00:00Z")


def test_a_worker_of_another_log_has_none() -> None:
    """What it does not report is null."""
    printed = WorkerView.of(replace(WORKER, busy=None, throughput=None, shares_log=False)).as_json()
    assert (printed["busy"], printed["sent_last_minute"], printed["sent_last_five_minutes"]) == (
        None,
        None,
        None,
    )


def test_a_worker_has_what_it_runs_with() -> None:
    """And what is wrong with it; a worker that does not say has null."""
    found = replace(WORKER, identity=IDENTITY, clock_skew=-8.0, problems=("its clock is off",))
    printed = WorkerView.of(found).as_json()
    assert (printed["version"], printed["keys"], printed["log_id"]) == ("1.0", ["aaa"], "log-1")
    assert (printed["mail_server"], printed["clock_skew"]) == ("smtp:587", -8.0)
    assert printed["problems"] == ["its clock is off"]
    assert WorkerView.of(WORKER).as_json()["keys"] is None


def test_the_list_says_why_the_broker_was_not_asked() -> None:
    """Null if it answered."""
    error = BrokerUnavailable("The broker refuses.")
    lists = [WorkerList(workers=(WORKER,), broker_error=each) for each in (error, None)]
    assert [WorkerListView.of(each).as_json()["broker_error"] for each in lists] == [
        "The broker refuses.",
        None,
    ]


def test_a_stop_has_the_keys_of_the_command() -> None:
    """`is_requested` says whether the request has arrived."""
    result = StopResult(name="celery@web", is_requested=False, detail="no answer")
    assert WorkerStopView.of(result).as_json() == {
        "worker": "celery@web",
        "is_requested": False,
        "detail": "no answer",
    }
