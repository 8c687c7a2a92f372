"""The evidence that is collected: each state needs some of it, and what is not needed is not asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.broker.messages import MessageSearchResult
from mailctl.delivery_log.circuits import Circuits
from mailctl.delivery_log.operator_actions import ActionFacts
from mailctl.delivery_log.pauses import PauseScope
from mailctl.delivery_log.queries.queue_stats import QueueRate
from mailctl.delivery_log.storage.engine import open_engine, writing
from mailctl.delivery_log.storage.tables import metadata
from mailctl.delivery_log.storage.urls import sqlite_url
from mailctl.diagnosis.evidence import EvidenceCollector
from mailctl.diagnosis.models import Evidence
from mailctl.domain.catalog import BUILT_IN_CATALOG
from mailctl.domain.models import CeleryResult, Email
from mailctl.domain.states import State
from mailctl.errors import BrokerRefused, BrokerUnavailable
from mailctl.runtime import Runtime
from mailctl.settings import BULK_QUEUE, GROUPS_QUEUE, Settings
from mailctl.smtp.mail_servers import mail_servers_from_settings
from tests.emails import email
from tests.unit.delivery_log.conftest import Log
from tests.unit.diagnosis.samples import EMAIL, NOT_FOUND, place
from tests.unit.worker.fakes import Calls, parts
from tests.workers import IDENTITY, worker

if TYPE_CHECKING:
    from sqlalchemy import Engine

DOWN = BrokerUnavailable("The broker does not answer.", fix="Start it.")
NO_FACTS = ActionFacts(
    with_content=frozenset({"e1"}),
    maybe_sent=frozenset(),
    resent=frozenset(),
    to_suppressed_address=frozenset(),
    to_unsubscribed=frozenset(),
)


class Broker(Calls):
    """A broker inspector of a shared broker."""

    is_in_memory = False


class Site:
    """A collector on a log without emails, and on a broker that a test describes."""

    def __init__(self, engine: Engine, *, is_private: bool = False, **broker: Any) -> None:
        self.suppressions, self.broker = Calls(find="a suppression"), Broker(**broker)
        self.workers = Calls(list_alive=(worker(),), list_silent=())
        url = "memory://" if is_private else "redis://localhost:1/0"
        runtime = parts(
            engine=engine,
            settings=Settings(celery_broker_url=url),  # type: ignore[arg-type]
            workers=self.workers,
            pauses=Calls(read=()),
            suppressions=self.suppressions,
            feedback_reports=Calls(of_email="ab"),
            actions=Calls(read_facts=NO_FACTS),
            outbox=Calls(contents={}),
            catalog=BUILT_IN_CATALOG,
            history=Calls(is_empty=True),
            masked_log_url="sqlite:///log.db",
            is_log_missing=False,
            mail_servers=mail_servers_from_settings(Settings()),
            identity=IDENTITY,
        )
        self.collector = EvidenceCollector(runtime)
        self.collector.broker = self.broker  # type: ignore[assignment]

    def collect(self, found: Email, **more: Any) -> Evidence:
        """Return the evidence about an email."""
        return self.collector.collect(found, (), **more).evidence


def test_nobody_is_asked_about_a_finished_email(empty_log: Engine) -> None:
    """Nothing can become of it."""
    site = Site(empty_log)
    assert site.collect(email(State.CAPTURED)) == Evidence()
    assert (site.broker.calls, site.workers.calls) == ([], [])


def test_an_accepted_email_has_its_reports(empty_log: Engine) -> None:
    """What became of it after a mail server took it."""
    for state in (State.SENT, State.BOUNCED):
        assert Site(empty_log).collect(email(state)).reports == ("a", "b")


def test_a_suppressed_email_needs_its_suppression(empty_log: Engine) -> None:
    """Of its address."""
    site = Site(empty_log)
    assert site.collect(email(State.SUPPRESSED)).suppression == "a suppression"
    assert site.suppressions.calls == [("find", ("zoe@example.com",), {})]


def test_a_waiting_email_is_looked_for_on_the_broker(empty_log: Engine) -> None:
    """In its queue; the messages before it are counted there."""
    site = Site(empty_log, find_message=place(3))
    found = site.collect(EMAIL)
    assert (found.search, found.emails_ahead) == (place(3), 3)
    assert site.broker.calls == [("find_message", ("e1",), {"queue": "celery"})]


def test_all_workers_are_asked_only_if_no_heartbeat_covers_the_queue(empty_log: Engine) -> None:
    """That takes a second."""
    consumers = {"celery@other": ("reports",)}
    registered = {"celery@other": frozenset({"shop.pay"})}
    site = Site(empty_log, find_message=NOT_FOUND, queues_by_worker=consumers, tasks_by_worker=registered)
    found = site.collect(replace(EMAIL, queue="reports"))
    assert (found.consumers, found.is_usual_queue) == (consumers, False)
    assert found.discarding == ("celery@other",)
    assert site.broker.names == ["find_message", "queues_by_worker", "task_result", "tasks_by_worker"]


def test_a_worker_that_discards_groups_is_found(empty_log: Engine) -> None:
    """It consumes their queue without their task, although it has that of the email."""
    consumers = {"celery@other": (GROUPS_QUEUE,)}
    registered = {"celery@other": frozenset({"send_welcome_email_task", "send_password_reset_email_task"})}
    site = Site(empty_log, find_message=NOT_FOUND, queues_by_worker=consumers, tasks_by_worker=registered)
    grouped = replace(EMAIL, queue="reports", is_grouped=True)
    assert site.collect(grouped).discarding == ("celery@other",)
    assert site.collect(replace(EMAIL, queue="reports")).discarding == ()


def test_a_broker_that_is_down_is_evidence(empty_log: Engine) -> None:
    """Not an error; the emails ahead are counted in the log then."""
    found = Site(empty_log, find_message=DOWN).collect(EMAIL)
    assert (found.broker_error, found.search, found.emails_ahead) == ("The broker does not answer.", None, 0)


def test_a_broker_that_refuses_messages_is_told_from_one_that_is_down(empty_log: Engine) -> None:
    """It refuses the questions to workers, too, which are messages."""
    refusal = BrokerRefused("The broker is full.", fix="Free memory.")
    waiting = replace(EMAIL, state=State.PENDING, queued_at=None, queue="reports")
    site = Site(empty_log, probe=refusal, find_message=NOT_FOUND, queues_by_worker=refusal)
    found = site.collect(waiting)
    assert (found.publish_error, found.broker_error) == ("The broker is full.", "")
    found = Site(empty_log, probe=DOWN).collect(waiting)
    assert (found.publish_error, found.broker_error) == ("", "The broker does not answer.")


def test_a_private_broker_is_never_asked(empty_log: Engine) -> None:
    """This process cannot read that of the worker."""
    site = Site(empty_log, is_private=True)
    assert site.collect(EMAIL).is_in_memory
    unknown = site.collector.collect_unknown("e9")
    assert (unknown.is_in_memory, unknown.result, unknown.search) == (True, None, None)
    assert site.broker.calls == []


def test_the_broker_does_not_matter_to_an_email_that_is_being_sent(empty_log: Engine) -> None:
    """Its lease and its worker do."""
    site = Site(empty_log)
    found = site.collect(email(State.SENDING))
    assert [each.name for each in found.workers] == ["celery@web"]
    assert found.lease == timedelta(seconds=Settings().mailctl_lease_seconds)
    assert found.reply_limit == timedelta(seconds=Settings().mailctl_smtp_data_timeout_seconds)
    assert site.broker.calls == []


@pytest.fixture
def log(tmp_path: Path) -> Any:
    """A log in a file."""
    engine = open_engine(sqlite_url(tmp_path / "mailctl.db"), setting="X")
    with writing(engine) as connection:
        metadata.create_all(connection)
    yield Log(engine)
    engine.dispose()


def test_the_circuit_to_the_configured_server_counts(log: Log) -> None:
    """Or else that to another: workers may have other settings."""
    Circuits(log.engine, "other:25").record_failure("refused")
    site = Site(log.engine, find_message=NOT_FOUND)
    first = site.collect(EMAIL).circuit
    Circuits(log.engine, "localhost:587").record_failure("refused")
    second = site.collect(EMAIL).circuit
    assert [each and each.server for each in (first, second)] == ["other:25", "localhost:587"]


@pytest.mark.parametrize(("idle_seconds", "stalled_for"), [(1, None), (20, timedelta(seconds=20))])
def test_a_queue_that_nothing_leaves_any_more_has_stalled(
    empty_log: Engine, idle_seconds: float, stalled_for: timedelta | None
) -> None:
    """Its rate is that of the emails that left it before."""
    site = Site(empty_log, find_message=place(93))
    rate = QueueRate(outgoing=324.0, idle_seconds=idle_seconds)
    site.collector._stats = Calls(rates={"celery": rate})  # type: ignore[assignment]
    found = site.collect(EMAIL)
    assert (found.attempts_per_minute, found.stalled_for) == (324.0, stalled_for)


def test_keys_and_actions_are_looked_up_for_a_thorough_answer(log: Log) -> None:
    """Keys only as long as the log remembers them."""
    log.now = datetime.now(UTC)
    email_id = log.add(idempotency_key="order-7")
    site, found = Site(log.engine), log.email(email_id)
    site.broker.answers |= {"find_message": NOT_FOUND, "queues_by_worker": {}}
    quick, thorough = site.collect(found), site.collect(found, is_thorough=True)
    assert (quick.idempotency_keys, quick.available_actions) == ((), ())
    assert [key.key for key in thorough.idempotency_keys] == ["order-7"]
    assert [each.action for each in thorough.available_actions] == ["hold", "cancel"]
    assert site.collector.email_id_of_key("order-7") == email_id
    assert site.collector.email_id_of_key("order-8") is None


def test_what_celery_knows_of_an_unknown_id_is_kept_until_the_broker_fails(empty_log: Engine) -> None:
    """The result came before the message could not be looked for."""
    result = CeleryResult(state="FAILURE", text="no")
    site = Site(empty_log, task_result=result, find_message=DOWN)
    unknown = site.collector.collect_unknown("e9")
    assert (unknown.result, unknown.search) == (result, None)
    assert unknown.broker_error == "The broker does not answer."
    assert (unknown.log, unknown.is_log_empty, unknown.other_homes) == ("sqlite:///log.db", True, ())


def test_the_log_of_a_relative_home_has_neighbours(
    empty_log: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are searched only on request; a log at an absolute path is the one that was meant."""
    monkeypatch.chdir(tmp_path)
    nothing = MessageSearchResult(position=None, is_complete=True)
    site = Site(empty_log, task_result=None, find_message=nothing)
    assert site.collector.collect_unknown("e9", look_around=True).relative_home == Path(".mailctl")
    site.collector._runtime.settings = Settings(mailctl_home=tmp_path)  # type: ignore[misc]
    assert site.collector.collect_unknown("e9", look_around=True).relative_home is None


def test_only_pauses_of_the_email_are_evidence(tmp_path: Path) -> None:
    """The pause of another queue says nothing about it."""
    opened = Runtime(Settings(mailctl_home=tmp_path))
    for scope, name in ((PauseScope.QUEUE, BULK_QUEUE), (PauseScope.KIND, "welcome")):
        opened.pauses.pause(scope, name, actor="ada", reason="")
    found = EvidenceCollector(opened).collect(email(State.PENDING, kind="welcome", queue="celery"), ())
    opened.close()
    assert [pause.name for pause in found.evidence.pauses] == ["welcome"]
