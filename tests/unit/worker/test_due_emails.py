"""Due emails are published in batches; campaigns are paced, and an open circuit lets only a probe through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from mailctl.broker.inspector import MessageCounts
from mailctl.settings import BULK_QUEUE
from mailctl.worker.due_emails import BATCH_SIZE, MAX_BATCHES_ON_BROKER, DueEmails
from tests.unit.worker.fakes import Broker, Calls, parts


class Publisher(Calls):
    """A publisher to a broker that answers."""

    is_backing_off = False


def make(
    publisher: Publisher,
    *,
    publications: Calls,
    circuit: Any = None,
    has_campaign: bool = False,
    on_broker: int = 0,
) -> DueEmails:
    """Return due emails with these parts."""
    runtime = parts(
        pauses=Calls(),
        circuits=Calls(read=circuit),
        publications=publications,
        campaigns=Calls(has_due=has_campaign),
    )
    broker: Any = Broker(**{BULK_QUEUE: MessageCounts(ready=on_broker, unacked=0)})
    return DueEmails(runtime, publisher=publisher, broker=broker, is_stopped=lambda: False)  # type: ignore[arg-type]


def test_everything_due_is_published_in_batches() -> None:
    """Until the log has no more."""
    publisher, publications = Publisher(), Calls(reserve_due=[["a"], ["b"], []])
    make(publisher, publications=publications).publish()
    assert [args for name, args, _ in publisher.calls if name == "publish_all"] == [(["a"],), (["b"],)]
    assert publications.calls[0] == ("reserve_due", (), {"limit": BATCH_SIZE})


def test_nothing_is_reserved_while_the_broker_is_given_a_rest() -> None:
    """The publisher backs off after an error."""
    publisher, publications = Publisher(), Calls()
    publisher.is_backing_off = True
    make(publisher, publications=publications).publish()
    assert (publisher.calls, publications.calls) == ([], [])


def test_a_campaign_fills_the_broker_up_to_a_number_of_batches() -> None:
    """The others wait in the log."""
    publisher = Publisher(is_consumed=True, publish_batch=True)
    due = make(publisher, publications=Calls(), has_campaign=True, on_broker=MAX_BATCHES_ON_BROKER - 3)
    due.publish()
    assert publisher.names.count("publish_batch") == 3
    assert due.has_campaign


def test_a_campaign_waits_for_a_worker_that_consumes_its_queue() -> None:
    """Its batches would stay on the broker."""
    publisher = Publisher(is_consumed=False, publish_batch=True)
    due = make(publisher, publications=Calls(), has_campaign=True)
    due.publish()
    assert "publish_batch" not in publisher.names
    assert not due.has_campaign


def open_circuit(*, probe_in_seconds: float) -> Any:
    probe_at = datetime.now(UTC) + timedelta(seconds=probe_in_seconds)
    return SimpleNamespace(is_open=True, probe_at=probe_at)


def test_an_open_circuit_lets_one_email_through() -> None:
    """From a campaign if nothing else is due."""
    publisher, publications = Publisher(publish_all=0), Calls(reserve_due=[[]])
    make(publisher, publications=publications, circuit=open_circuit(probe_in_seconds=-1)).publish()
    assert publications.calls == [("reserve_due", (), {"limit": 1})]
    assert publisher.calls[-1] == ("publish_batch", (), {"limit": 1})


def test_an_open_circuit_lets_nothing_through_before_its_probe() -> None:
    """Not even from a campaign."""
    publisher, publications = Publisher(), Calls()
    make(publisher, publications=publications, circuit=open_circuit(probe_in_seconds=60)).publish()
    assert (publisher.calls, publications.calls) == ([], [])
