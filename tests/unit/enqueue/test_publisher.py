"""The publisher, with a broker in memory, and a log that keeps what it is told."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from amqp.exceptions import MessageNacked
from celery import Celery

from mailctl.broker.messages import BATCH_TASK
from mailctl.domain.catalog import RESET, WELCOME, Kind
from mailctl.domain.models import Content
from mailctl.enqueue.publisher import Publisher
from mailctl.errors import BrokerRefused, BrokerUnavailable
from mailctl.settings import BULK_QUEUE
from tests.emails import email
from tests.unit.enqueue.publishing import ZOE, BrokenProducer, FailingProducer, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.runtime import Runtime
    from tests.unit.enqueue.conftest import MakeRuntime

UNKNOWN_KIND = Kind(name="gone", subject="", template="gone", lifetime=timedelta(days=1))


class TestAMessage:
    """Messages carry a reference or the whole email."""

    def test_it_is_a_reference_for_a_worker_that_shares_the_log(self, site: Site) -> None:
        """A reference contains no address."""
        draft = site.draft()
        site.publisher.publish_all([draft])
        [(headers, _, kwargs)] = site.messages()
        assert (headers["task"], headers["id"]) == (WELCOME.task, draft.id)
        assert kwargs == {"email_id": draft.id}
        assert site.publications.queued == [draft.id]

    def test_it_is_the_whole_email_for_others(self, runtime: Runtime) -> None:
        """A full message has the address and the links, and redacted representations."""
        site = Site(runtime, has_worker=False)
        site.publisher.publish_all([site.draft(RESET)])
        [(headers, _, kwargs)] = site.messages()
        assert kwargs["user_data"]["email"] == ZOE.email
        assert kwargs["reset_url"].startswith("http://localhost:3000/reset-password?t=")
        assert (headers["argsrepr"], headers["kwargsrepr"]) == ("(redacted)", "(redacted)")
        site.close()

    def test_a_message_for_others_names_sender_and_tenant(self, runtime: Runtime) -> None:
        """By which a worker with another log sends it."""
        site = Site(runtime, has_worker=False)
        draft = site.draft()
        site.outbox.stored[draft.id] = Content(user=ZOE, sender="press", tenant="acme")
        site.publisher.publish_all([draft])
        [(headers, _, _)] = site.messages()
        assert (headers["mailctl_sender"], headers["mailctl_tenant"]) == ("press", "acme")
        site.close()

    @pytest.mark.parametrize(("mode", "is_full"), [("full", True), ("reference", False)])
    def test_the_operator_may_decide(self, make_runtime: MakeRuntime, mode: str, *, is_full: bool) -> None:
        """MAILCTL_MESSAGES overrides what the live workers suggest."""
        site = Site(make_runtime(mailctl_messages=mode), has_worker=not is_full)
        site.publisher.publish_all([site.draft()])
        [(_, _, kwargs)] = site.messages()
        assert ("user_data" in kwargs) is is_full
        site.close()

    def test_no_full_message_leaves_the_environment(self, make_runtime: MakeRuntime) -> None:
        """A forbidden recipient is suppressed before publishing, because the receiver may have no policy."""
        runtime = make_runtime(mailctl_messages="full", mailctl_recipients_allow="qa@corp.example")
        site = Site(runtime)
        draft = site.draft()
        assert site.publisher.publish_all([draft]) == 0
        assert (list(site.messages()), site.publications.suppressed) == ([], [draft.id])
        site.close()

    def test_a_redirected_email_is_addressed_to_its_new_recipient(self, make_runtime: MakeRuntime) -> None:
        """A full message is addressed to the recipient of MAILCTL_REDIRECT_TO."""
        site = Site(make_runtime(mailctl_messages="full", mailctl_redirect_to="qa@corp.example"))
        site.publisher.publish_all([site.draft()])
        [(_, _, kwargs)] = site.messages()
        assert kwargs["user_data"]["email"] == "qa@corp.example"
        site.close()

    def test_an_email_without_content_is_not_published(self, make_runtime: MakeRuntime) -> None:
        """A finished email has no content left to publish."""
        site = Site(make_runtime(mailctl_messages="full"))
        draft = site.draft()
        site.outbox.stored[draft.id] = None
        assert site.publisher.publish_all([draft]) == 0
        assert list(site.messages()) == []
        site.close()


def test_one_email_that_cannot_be_published_stops_no_other(site: Site) -> None:
    """An email of an unknown kind is postponed and the next one is published."""
    unknown, good = site.draft(UNKNOWN_KIND), site.draft()
    assert site.publisher.publish_all([unknown, good]) == 1
    assert (site.publications.postponed, site.publications.queued) == ([unknown.id], [good.id])


class TestABrokerThatFails:
    """Emails stay in the delivery log while the broker fails."""

    def test_what_was_published_before_is_recorded(self, site: Site) -> None:
        """Emails that the broker took before it failed are recorded as published."""
        first, second = site.draft(), site.draft()
        site.publisher._sender._producer = BrokenProducer(site.publisher._sender._open_producer())
        with pytest.raises(BrokerUnavailable):
            site.publisher.publish_all([first, second])
        assert site.publications.queued == [first.id]
        assert site.publisher.published_count == 1

    def test_it_is_not_asked_again_at_once(self, site: Site) -> None:
        """A broker that failed is not asked again for a moment."""
        assert not site.publisher.is_backing_off
        site.publisher._sender._producer = BrokenProducer(site.publisher._sender._open_producer())
        with pytest.raises(BrokerUnavailable):
            site.publisher.publish_all([site.draft(), site.draft()])
        assert site.publisher.is_backing_off
        with pytest.raises(BrokerUnavailable, match="a moment ago"):
            site.publisher.publish_all([site.draft()])

    def test_emails_of_a_batch_go_back(self, site: Site) -> None:
        """Emails of a batch that was not published are returned to the delivery log."""
        returned: list[str] = []
        site.runtime.campaigns.take_due = lambda **_: {"a": "welcome", "b": "welcome"}  # type: ignore[method-assign]
        site.runtime.claims.return_unstarted = lambda ids, reason: returned.extend(ids)  # type: ignore[assignment, method-assign, misc]
        broken = BrokenProducer(site.publisher._sender._open_producer())
        broken._left = 0
        site.publisher._sender._producer = broken
        with pytest.raises(BrokerUnavailable):
            site.publisher.publish_batch(limit=10)
        assert returned == ["a", "b"]


class TestATaskOfTheService:
    """Its message is recorded before it is published, because nothing else keeps it from running twice."""

    @pytest.fixture
    def own(self, make_runtime: MakeRuntime) -> Iterator[Site]:
        """A publisher for a service that defines the welcome task itself."""
        app = Celery("service", broker="memory://", backend="cache+memory://", set_as_current=False)

        def send(user_data: dict[str, Any]) -> None:
            raise AssertionError("no worker runs here")

        app.task(send, name=WELCOME.task, shared=False)
        site = Site(make_runtime(app=app))
        yield site
        site.close()

    def test_it_gets_the_whole_email(self, own: Site) -> None:
        """Its email is marked, so that no relay publishes it again."""
        draft = own.draft()
        assert own.publisher.publish_all([draft]) == 1
        [(headers, _, kwargs)] = own.messages()
        assert headers["ignore_result"] is False
        assert kwargs["user_data"]["email"] == ZOE.email
        assert (own.publications.queued_for_own_tasks, own.publications.queued) == ([draft.id], [])

    def test_only_one_of_two_publishers_publishes_it(self, own: Site) -> None:
        """The second finds it recorded."""
        draft = own.draft()
        assert [own.publisher.publish_all([draft]) for _ in range(2)] == [1, 0]
        assert len(list(own.messages())) == 1

    def test_a_message_that_may_have_arrived_counts_as_published(self, own: Site) -> None:
        """The connection was lost while it was published."""
        draft, producer = own.draft(), own.publisher._sender._open_producer()
        own.publisher._sender._producer = FailingProducer(producer, ConnectionResetError("gone"))
        with pytest.raises(BrokerUnavailable):
            own.publisher.publish_all([draft])
        assert (own.publications.queued_for_own_tasks, own.publications.returned) == ([draft.id], [])

    def test_a_refused_message_goes_back(self, own: Site) -> None:
        """The broker answered that it did not take it."""
        draft, producer = own.draft(), own.publisher._sender._open_producer()
        own.publisher._sender._producer = FailingProducer(producer, MessageNacked())
        with pytest.raises(BrokerRefused):
            own.publisher.publish_all([draft])
        assert own.publications.returned == [draft.id]

    def test_its_old_result_is_deleted_before_it_runs_again(self, own: Site) -> None:
        """It would be taken for the result of the next run."""
        backend = own.runtime.app.backend
        backend.store_result("again", False, "SUCCESS")
        again = email(id="again", queue=own.queue, is_own_task=True)
        own.outbox.stored["again"] = Content(user=ZOE)
        assert own.publisher.publish_all([again]) == 1
        assert backend.get_state("again") == "PENDING"


def test_a_batch_is_one_message(site: Site) -> None:
    """A batch is one message with ids on the bulk queue."""
    list(site.messages(BULK_QUEUE))
    site.runtime.campaigns.take_due = lambda **_: {"a": "welcome", "b": "welcome"}  # type: ignore[method-assign]
    assert site.publisher.publish_batch(limit=10) == 2
    [(headers, args, _)] = site.messages(BULK_QUEUE)
    assert (headers["task"], args) == (BATCH_TASK, [["a", "b"]])


class TestReachingAWorker:
    """Only some brokers connect processes."""

    @pytest.mark.parametrize(("worker_id", "can_reach"), [("w1", True), (None, False)])
    def test_a_memory_broker_reaches_its_own_worker(
        self, runtime: Runtime, worker_id: str | None, *, can_reach: bool
    ) -> None:
        """A memory broker reaches the worker that holds it and nobody else."""
        publisher = Publisher(runtime, worker_id=worker_id)
        assert publisher.can_reach_worker is can_reach
        publisher.close()

    def test_other_brokers_reach_every_worker(self, make_runtime: MakeRuntime) -> None:
        """A Redis broker reaches workers, which is decided without connecting."""
        publisher = Publisher(make_runtime(celery_broker_url="redis://localhost:1/0"))
        assert publisher.can_reach_worker
        publisher.close()

    def test_a_queue_is_consumed_if_a_live_worker_says_so(self, site: Site) -> None:
        """The queues of live workers in the delivery log decide."""
        assert site.publisher.is_consumed(site.queue)
        assert not site.publisher.is_consumed("another")
