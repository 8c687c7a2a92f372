"""Emails that were published in full: what a worker without the log may have sent is not sent again."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from pydantic import SecretStr
from redis.exceptions import RedisError

from mailctl import runtime
from mailctl.broker.inspector import BrokerInspector
from mailctl.broker.task_arguments import REFERENCE_ARGUMENT
from mailctl.delivery_log.operator_actions import AuditInfo
from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import Content, User
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.message_sender import MessageSender
from mailctl.enqueue.publisher import Publisher
from mailctl.errors import BrokerRefused, BrokerUnavailable
from mailctl.recorder.task_results import record_results
from mailctl.settings import Settings
from mailctl.worker.stuck_emails import StuckEmails

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

    from mailctl.domain.models import Draft, Email
    from mailctl.runtime import Runtime
    from tests.servers import RedisServer

QUEUE = "celery"
NOTES = "mailctl.published."


@dataclass
class Site:
    """The library, without workers of its log, and its broker."""

    runtime: Runtime
    redis: Redis

    def draft(self) -> Draft:
        """Record an email."""
        now = datetime.now(UTC)
        content = Content(user=User(email="zoe@example.com"))
        [draft] = make_drafts(EmailRequest(kind=WELCOME), [content], queue=QUEUE, now=now)
        self.runtime.outbox.add([draft], due_at=now)
        return draft

    def publish(self, *drafts: Draft | Email) -> list[str]:
        """Publish emails as a process without a worker does; return their ids."""
        publisher = Publisher(self.runtime)
        try:
            publisher.publish_all(drafts)
        finally:
            publisher.close()
        return [draft.id for draft in drafts]

    def email(self, email_id: str) -> Email:
        """Return an email as it is now."""
        [found] = self.runtime.history.emails([email_id])
        return found

    def watch(self, *, after: timedelta = timedelta(minutes=5), nodes: dict[str, Any] | None = None) -> None:
        """Look twice, as a worker does that starts so much later and hears these Celery workers."""
        self.runtime.clock = lambda: datetime.now(UTC) + after  # type: ignore[method-assign]
        stuck = StuckEmails(self.runtime, broker=BrokerInspector(self.runtime.app), worker_id="w1")
        stuck._broker.queues_by_worker = lambda: nodes or {}  # type: ignore[method-assign]
        for _ in range(2):
            stuck._full_messages.check()


@pytest.fixture
def site(redis_url: str, redis_server: RedisServer, tmp_path: Path) -> Iterator[Site]:
    """The site, with Redis for messages and results."""
    app = Celery("shop", broker=redis_url, backend=redis_url, set_as_current=False)
    settings = Settings(
        mailctl_home=tmp_path,
        debug=False,
        celery_broker_url=redis_url,
        secret_key=SecretStr("a-key-of-the-tests-with-some-length"),
    )
    runtime.configure(settings, app=app)
    with redis_server.client() as client:
        yield Site(runtime.current(), client)


def take(site: Site) -> None:
    """Take all messages, as a worker without the log."""
    while site.redis.rpop(QUEUE):
        pass


def store_result(site: Site, email_id: str, value: object) -> None:
    """Store the result of a task as Celery does."""
    meta = {"task_id": email_id, "status": "SUCCESS", "result": value, "traceback": None, "children": []}
    site.redis.set(f"celery-task-meta-{email_id}", json.dumps(meta))


def test_a_message_that_was_taken_without_a_result_is_held(site: Site) -> None:
    """At the second look; the broker remembers that it had the message."""
    [email_id] = site.publish(site.draft())
    take(site)
    site.watch(after=timedelta(seconds=20))
    assert site.email(email_id).state is State.QUEUED
    site.watch()
    email = site.email(email_id)
    assert (email.state, email.reason_code) == (State.HELD, ReasonCode.OWN_TASK_UNKNOWN)
    assert email.error is not None
    assert email.error.startswith("it is unknown whether a worker without this delivery log sent it")


def test_what_redis_lost_with_all_its_data_is_published_again(site: Site) -> None:
    """Soon; unless a worker without the log consumes the queue, which may have taken it before."""
    [email_id] = site.publish(site.draft())
    site.redis.flushall()
    site.watch(nodes={"celery@other": (QUEUE,)})
    assert site.email(email_id).state is State.HELD
    [email_id] = site.publish(site.draft())
    site.redis.flushall()
    site.watch(after=timedelta(seconds=20), nodes={"celery@elsewhere": ("reports",)})
    email = site.email(email_id)
    assert (email.state, email.queued_at) == (State.PENDING, None)


def test_what_was_published_while_another_worker_listened_is_no_proved_loss(site: Site) -> None:
    """It may have taken emails of that queue before it stopped, and all evidence is lost with the data."""
    exchange = site.runtime.app.control.mailbox.exchange.name
    with site.redis.pubsub() as other_worker:
        other_worker.subscribe(f"/{site.redis.get_connection_kwargs()['db']}.{exchange}")
        other_worker.get_message(timeout=5)
        heard = site.publish(site.draft())
    unheard = site.publish(site.draft())
    take(site)
    site.redis.flushall()
    site.watch()
    assert {site.email(email_id).state for email_id in (*heard, *unheard)} == {State.HELD}


def test_a_worker_that_does_not_answer_may_have_taken_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It executes a task, and nobody knows which queues it consumes."""
    [email_id] = site.publish(site.draft())
    site.redis.flushall()
    monkeypatch.setattr(BrokerInspector, "has_silent_worker", lambda *_, **__: True)
    site.watch()
    assert site.email(email_id).state is State.HELD


def test_a_publisher_that_fails_at_the_message_leaves_a_doubt(site: Site) -> None:
    """The broker may have it; the note, which says so, comes first."""
    draft = site.draft()
    publisher = Publisher(site.runtime)
    publisher._sender.send = _fail  # type: ignore[method-assign, assignment]
    with pytest.raises(BrokerUnavailable):
        publisher.publish_all([draft])
    publisher.close()
    site.watch()
    assert site.email(draft.id).state is State.HELD


def test_what_redis_does_not_take_is_not_said_to_be_published(site: Site) -> None:
    """It is full; the email waits for a relay as if nobody had tried."""
    draft = site.draft()
    site.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(BrokerRefused):
            site.publish(draft)
    finally:
        site.redis.config_set("maxmemory", 0)
    assert [event.state for event in site.runtime.history.events(draft.id)] == [State.PENDING]


def test_a_missing_note_is_no_proof_if_redis_has_evicted_keys(site: Site) -> None:
    """A note is one of them."""
    [email_id] = site.publish(site.draft())
    site.redis.flushall()
    broker = BrokerInspector(site.runtime.app)
    assert broker.find_lost_messages([email_id]) == {email_id}
    site.redis.set("some result", "x", ex=1000)
    site.redis.config_set("maxmemory-policy", "volatile-lru")
    site.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(RedisError):
            site.redis.set("another result", "x")
        site.redis.config_set("maxmemory", 0)
        assert broker.find_lost_messages([email_id]) == frozenset()
        # It does not remember after a restart.
        site.redis.config_resetstat()
        assert broker.find_lost_messages([email_id]) == {email_id}
        site.redis.config_set("maxmemory", 10**9)
        assert broker.find_lost_messages([email_id]) == frozenset()
    finally:
        site.redis.config_set("maxmemory", 0)
        site.redis.config_set("maxmemory-policy", "noeviction")
        site.redis.config_resetstat()


def test_a_missing_note_is_no_proof_if_this_user_may_not_write_notes(site: Site, redis_url: str) -> None:
    """Writing one does not fail, so that messages can be published; that none was written is recorded."""
    rights = f"on >pass ~{QUEUE}* ~_kombu* %R~{NOTES}* &* +@all"
    site.redis.execute_command("ACL SETUSER", "web", *rights.split())
    app = Celery("web", broker=redis_url.replace("//", "//web:pass@"), set_as_current=False)
    draft, publisher = site.draft(), Publisher(site.runtime)
    try:
        with closing(MessageSender(app)) as publisher._sender:
            publisher.publish_all([draft])
        assert BrokerInspector(app).find_lost_messages([draft.id]) == frozenset()
    finally:
        site.redis.acl_deluser("web")
    take(site)
    assert BrokerInspector(site.runtime.app).find_lost_messages([draft.id]) == {draft.id}
    site.watch()
    assert site.email(draft.id).state is State.HELD


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (True, State.UNCONFIRMED),
        (False, State.FAILED),
        ({REFERENCE_ARGUMENT: "x", "state": "sent"}, State.SENT),
        ({REFERENCE_ARGUMENT: "x", "state": "captured"}, State.CAPTURED),
        ({REFERENCE_ARGUMENT: "x", "state": "held"}, State.QUEUED),
    ],
)
def test_a_command_reads_in_the_result_what_became_of_it(site: Site, value: object, state: State) -> None:
    """Of a plain task, or of a worker of mailctl with another log; only the latter says `sent`."""
    [email_id] = site.publish(site.draft())
    take(site)
    store_result(site, email_id, value)
    record_results(site.runtime)
    assert site.email(email_id).state is state


def test_a_message_asks_for_a_result_and_is_recorded_before(site: Site) -> None:
    """Then no crash leaves an email that looks as if it was never published."""
    draft = site.draft()
    seen: list[State] = []
    publisher = Publisher(site.runtime)
    send = publisher._sender.send

    def look(**options: Any) -> None:
        seen.append(site.email(draft.id).state)
        assert options["headers"]["ignore_result"] is False
        send(**options)

    publisher._sender.send = look  # type: ignore[method-assign, assignment]
    publisher.publish_all([draft])
    publisher.close()
    assert seen == [State.QUEUED]
    assert site.redis.exists(f"{NOTES}{draft.id}")


def test_what_was_not_published_waits_for_a_relay(site: Site) -> None:
    """The broker failed at the first of several; nobody knows whether it has that one."""
    drafts = [site.draft() for _ in range(3)]
    publisher = Publisher(site.runtime)
    publisher._sender = SimpleNamespace(  # type: ignore[assignment]
        reach_broker=lambda: None,
        confirm=lambda: ((), None),
        is_loss_provable=lambda **_: True,
        note_publication=lambda _: None,
        send=_fail,
        close=lambda: None,
    )
    with pytest.raises(BrokerUnavailable):
        publisher.publish_all(drafts)
    assert [site.email(draft.id).state for draft in drafts] == [State.QUEUED, State.PENDING, State.PENDING]


def _fail(**_: object) -> None:
    raise BrokerUnavailable("The broker does not answer.", fix="Start it.")


def test_the_result_of_an_earlier_run_is_deleted(site: Site) -> None:
    """It would be taken for that of the next."""
    [email_id] = site.publish(site.draft())
    take(site)
    store_result(site, email_id, False)
    record_results(site.runtime)
    assert site.email(email_id).state is State.FAILED
    site.runtime.actions.retry(
        [email_id],
        from_states=[State.FAILED],
        audit=AuditInfo(actor="ada", reason=""),
        lifetime=None,
        is_forced=False,
        again=False,
    )
    site.publish(site.email(email_id))
    record_results(site.runtime)
    assert site.email(email_id).state is State.QUEUED


def test_a_reference_is_published_again_whatever_was_before(site: Site) -> None:
    """Whoever has it has to claim the email."""
    [email_id] = site.publish(site.draft())
    site.runtime.claims.return_unstarted([email_id], reason="again")
    site.runtime.publications.mark_queued([email_id])
    site.watch()
    assert site.email(email_id).state is State.QUEUED
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert site.runtime.recovery.return_lost(queue=QUEUE, queued_before=later, on_broker=0) == 1
