"""The enqueuer, with an outbox and a publisher that keep what they get."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from mailctl.delivery_log.outbox import RecordResult
from mailctl.domain.catalog import GENERIC, RESET, WELCOME, Kind
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import Content, User
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.enqueuer import GRACE_SECONDS, Enqueuer, EnqueueResult
from mailctl.errors import InvalidInput, RenderError
from tests.unit.worker.fakes import Calls
from tests.workers import worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.domain.models import Draft
    from mailctl.runtime import Runtime
    from tests.unit.enqueue.conftest import MakeRuntime

NOW = datetime.now(UTC)
ZOE = User(email="zoe@example.com", id="7")
INVOICE = Kind(
    name="invoice",
    subject="Invoice {number}",
    template="invoice",
    lifetime=timedelta(days=1),
    variables=("number",),
    queue="billing",
)


@dataclass
class Outbox:
    """An outbox that keeps drafts; `earlier` is the id of an earlier request with the same key."""

    earlier: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)

    def add(self, drafts: Sequence[Draft], *, due_at: datetime, durable: bool) -> RecordResult:
        """Record drafts in a new transaction."""
        self.calls.append({"drafts": drafts, "due_at": due_at, "durable": durable})
        return RecordResult(
            id=self.earlier or drafts[0].id, publishable=() if self.earlier else tuple(drafts)
        )

    def add_in_transaction(
        self, connection: object, drafts: Sequence[Draft], *, due_at: datetime
    ) -> RecordResult:
        """Record drafts in the transaction of the caller."""
        self.calls.append({"drafts": drafts, "due_at": due_at, "connection": connection})
        return RecordResult(id=drafts[0].id)


@dataclass
class Publisher:
    """A publisher that keeps the ids of emails."""

    can_reach_worker: bool = True
    published: list[str] = field(default_factory=list)

    def publish_all(self, emails: Sequence[Draft], *, head_start_seconds: float) -> int:
        """Keep the ids of emails."""
        self.published += [email.id for email in emails]
        return len(emails)


def enqueuer(
    runtime: Runtime, *, outbox: Outbox | None = None, publisher: Publisher | None = None
) -> Enqueuer:
    """Return an enqueuer that records and publishes into these."""
    runtime.outbox = outbox or Outbox()  # type: ignore[assignment]
    made = Enqueuer(runtime)
    if publisher is not None:
        made.__dict__["_publisher"] = publisher
    return made


def service_app(*tasks: str) -> Any:
    """Return a stand-in for the Celery app of a service that defines these tasks itself."""
    return SimpleNamespace(tasks={name: object() for name in tasks})


def drafts(count: int) -> list[Draft]:
    return make_drafts(EmailRequest(kind=WELCOME), [Content(user=ZOE)] * count, queue="celery", now=NOW)


class TestTheKindOfAnEmail:
    """Rate limits, pauses and lists use the kind that an email is recorded as."""

    def test_a_generic_email_has_the_kind_of_its_template(self, runtime: Runtime) -> None:
        """A password reset sent as a generic email has the rate limits of password resets."""
        request = EmailRequest(kind=GENERIC)
        assert enqueuer(runtime).with_recorded_kind(request, "reset").kind is RESET

    @pytest.mark.parametrize(("kind", "template"), [(GENERIC, "message"), (GENERIC, None), (WELCOME, None)])
    def test_other_requests_stay_as_they_are(
        self, runtime: Runtime, kind: Kind, template: str | None
    ) -> None:
        """A request whose kind does not change is not copied."""
        request = EmailRequest(kind=kind)
        assert enqueuer(runtime).with_recorded_kind(request, template) is request

    def test_templates_of_a_task_of_the_service_are_unknown(self, make_runtime: MakeRuntime) -> None:
        """The template `reset` of a service need not be a password reset."""
        runtime = make_runtime(app=service_app(GENERIC.task), mailctl_app="service:app")
        request = EmailRequest(kind=GENERIC)
        assert enqueuer(runtime).with_recorded_kind(request, "reset") is request


class TestTheQueueOfAnEmail:
    """Emails go to the queue of their kind, or to where the service routes the task."""

    def test_a_kind_may_have_a_queue_of_its_own(self, runtime: Runtime) -> None:
        """The queue of a kind overrides the default queue."""
        assert enqueuer(runtime).queue_for(INVOICE) == "billing"

    def test_others_go_to_the_default_queue(self, make_runtime: MakeRuntime) -> None:
        """The setting CELERY_QUEUE_DEFAULT names the queue of other kinds."""
        assert enqueuer(make_runtime(celery_queue_default="mail")).queue_for(WELCOME) == "mail"

    def test_the_app_of_the_service_may_route_tasks(self, make_runtime: MakeRuntime) -> None:
        """A route decides, and tasks without one go to the default queue of the app."""
        app = Celery("service", broker="memory://", set_as_current=False)
        app.conf.task_routes = {WELCOME.task: {"queue": "greetings"}}
        app.conf.task_default_queue = "others"
        made = enqueuer(make_runtime(app=app, mailctl_app="service:app"))
        assert (made.queue_for(WELCOME), made.queue_for(RESET)) == ("greetings", "others")


class TestContent:
    """Content is a request, applied to one recipient."""

    def test_it_is_what_the_request_says(self, runtime: Runtime) -> None:
        """Content has the tokens of the request and the recipient."""
        request = EmailRequest(kind=RESET, tokens={"token": "a-token-of-the-service"})
        content = enqueuer(runtime).make_content(request, ZOE)
        assert (content.user, content.tokens) == (ZOE, {"token": "a-token-of-the-service"})

    def test_variables_of_the_recipient_win(self, runtime: Runtime) -> None:
        """Variables of one recipient override those of the request for this recipient alone."""
        request = EmailRequest(
            kind=GENERIC, subject="Hi", template="message", context={"title": "All", "body": "Hello"}
        )
        made = enqueuer(runtime)
        assert made.make_content(request, ZOE, variables={"title": "Zoe"}).context == {
            "title": "Zoe",
            "body": "Hello",
        }
        assert made.make_content(request, ZOE).context == {"title": "All", "body": "Hello"}

    def test_tokens_of_other_kinds_are_refused(self, runtime: Runtime) -> None:
        """A welcome email has no links, so it takes no token."""
        with pytest.raises(InvalidInput, match="token"):
            enqueuer(runtime).make_content(EmailRequest(kind=WELCOME, tokens={"token": "t" * 20}), ZOE)


class Composer:
    """A composer whose templates are all broken."""

    async def preview(self, kind: Kind, content: Content, *, at: datetime) -> None:
        """Raise the error of a broken template."""
        raise RenderError("The template has no end.", fix="Repair it.")


class TestUnrenderableTemplates:
    """Templates that could fail are rendered before emails are recorded."""

    def test_they_are_refused(self, runtime: Runtime) -> None:
        """The error names the problem of the template and its fix."""
        runtime.__dict__["composer"] = Composer()
        with pytest.raises(InvalidInput, match="no end") as caught:
            enqueuer(runtime).refuse_unrenderable(EmailRequest(kind=GENERIC), [Content(user=ZOE)])
        assert caught.value.fix == "Repair it."

    def test_templates_of_mailctl_are_not_rendered(self, runtime: Runtime) -> None:
        """Packaged templates of built-in kinds are known to work."""
        runtime.__dict__["composer"] = Composer()
        enqueuer(runtime).refuse_unrenderable(EmailRequest(kind=WELCOME), [Content(user=ZOE)])

    def test_templates_of_tasks_of_the_service_are_not_rendered(self, make_runtime: MakeRuntime) -> None:
        """Templates of the service are not known to mailctl."""
        runtime = make_runtime(app=service_app(GENERIC.task), mailctl_app="service:app")
        runtime.__dict__["composer"] = Composer()
        enqueuer(runtime).refuse_unrenderable(EmailRequest(kind=GENERIC), [Content(user=ZOE)])


class TestRecording:
    """Each content of a request becomes an email."""

    def test_ids_are_those_of_the_emails(self, runtime: Runtime) -> None:
        """All emails are publishable if no rule delays them."""
        outbox = Outbox()
        result = enqueuer(runtime, outbox=outbox).record(EmailRequest(kind=WELCOME), [Content(user=ZOE)] * 2)
        assert result.ids == tuple(draft.id for draft in outbox.calls[0]["drafts"])
        assert len(set(result.ids)) == 2
        assert result.ids_to_check == ()

    def test_a_repeated_key_returns_the_earlier_id(self, runtime: Runtime) -> None:
        """A repeated request has nothing to publish without asking the delivery log."""
        result = enqueuer(runtime, outbox=Outbox(earlier="first")).record(
            EmailRequest(kind=WELCOME, idempotency_key="k"), [Content(user=ZOE)] * 2
        )
        assert (result.ids, result.ids_to_check) == (("first",), ("first",))

    def test_all_emails_share_the_request(self, runtime: Runtime) -> None:
        """Drafts refer to the request of the caller without copying it."""
        outbox, request = Outbox(), EmailRequest(kind=WELCOME, forced_by="ada")
        enqueuer(runtime, outbox=outbox).record(request, [Content(user=ZOE)] * 2)
        assert all(draft.request is request for draft in outbox.calls[0]["drafts"])

    def test_relays_leave_new_emails_to_who_can_publish_them(self, make_runtime: MakeRuntime) -> None:
        """Emails are due after a grace period if this process publishes them, otherwise at once."""
        outbox, redis = Outbox(), make_runtime(celery_broker_url="redis://localhost:1/0")
        for can_reach_worker in (True, False):
            enqueuer(redis, outbox=outbox, publisher=Publisher(can_reach_worker)).record(
                EmailRequest(kind=WELCOME), [Content(user=ZOE)]
            )
        mine, of_relays = (call["due_at"] - call["drafts"][0].created_at for call in outbox.calls)
        assert (mine, of_relays) == (timedelta(seconds=GRACE_SECONDS), timedelta(0))

    def test_emails_that_are_left_to_relays_are_due_at_once(self, make_runtime: MakeRuntime) -> None:
        """Only for callers that prefer relays; then nothing is prepared for publishing here."""
        outbox, redis = Outbox(), make_runtime(celery_broker_url="redis://localhost:1/0")
        redis.workers = Calls(list_alive=(worker(redis.clock(), publishes_at_once=True),))  # type: ignore[assignment]
        redis.outbox = outbox  # type: ignore[assignment]
        made = Enqueuer(redis, prefers_relays=True)
        made.record(EmailRequest(kind=WELCOME), [Content(user=ZOE)])
        made.record(EmailRequest(kind=WELCOME), [Content(user=ZOE)])
        assert {call["due_at"] - call["drafts"][0].created_at for call in outbox.calls} == {timedelta(0)}
        assert "_publisher" not in made.__dict__
        # Asked once: what is recorded for relays must not be published here after all.
        assert redis.workers.names == ["list_alive"]  # type: ignore[attr-defined]
        assert not Enqueuer(redis).leaves_to_relays(WELCOME)

    @pytest.mark.parametrize("settings", [{"mailctl_app": "service:app"}, {"mailctl_messages": "full"}])
    def test_messages_that_carry_more_than_an_id_are_not_left_to_relays(
        self, make_runtime: MakeRuntime, settings: dict[str, str]
    ) -> None:
        """Nor are emails that the service's own tasks may send."""
        runtime = make_runtime(app=service_app(), celery_broker_url="redis://localhost:1/0", **settings)
        runtime.workers = Calls(list_alive=(worker(runtime.clock(), publishes_at_once=True),))  # type: ignore[assignment]
        assert not Enqueuer(runtime, prefers_relays=True).leaves_to_relays(WELCOME)

    def test_a_transaction_of_the_caller_is_used(self, runtime: Runtime) -> None:
        """Emails of an open transaction are recorded in it."""
        outbox, connection = Outbox(), object()
        enqueuer(runtime, outbox=outbox).record(
            EmailRequest(kind=WELCOME),
            [Content(user=ZOE)],
            connection=connection,  # type: ignore[arg-type]
        )
        assert [call["connection"] for call in outbox.calls] == [connection]

    @pytest.mark.parametrize("durable", [True, False])
    def test_the_caller_decides_about_the_disk(self, runtime: Runtime, *, durable: bool) -> None:
        """The flag reaches the outbox unchanged."""
        outbox = Outbox()
        enqueuer(runtime, outbox=outbox).record(
            EmailRequest(kind=WELCOME), [Content(user=ZOE)], durable=durable
        )
        assert [call["durable"] for call in outbox.calls] == [durable]


class TestPublishing:
    """Emails are published only if a worker can receive them."""

    def test_a_private_broker_gets_nothing(self, runtime: Runtime) -> None:
        """Outside a worker, publishing to a memory broker would lose the message."""
        publisher = Publisher()
        made = enqueuer(runtime, publisher=publisher)
        made.publish([], publishable=drafts(2))
        assert not made.can_reach_worker
        assert publisher.published == []

    def test_publishable_emails_are_published_unasked(self, make_runtime: MakeRuntime) -> None:
        """Emails that are known to be publishable need no query."""
        publisher, emails = Publisher(), drafts(2)
        redis = make_runtime(celery_broker_url="redis://localhost:1/0")
        enqueuer(redis, publisher=publisher).publish([], publishable=emails)
        assert publisher.published == [email.id for email in emails]

    def test_other_emails_are_published_if_the_log_has_them(self, make_runtime: MakeRuntime) -> None:
        """An id whose transaction was rolled back is not published."""
        publisher = Publisher()
        redis = make_runtime(celery_broker_url="redis://localhost:1/0")
        enqueuer(redis, publisher=publisher).publish(["rolled-back"])
        assert publisher.published == []


def test_the_log_is_asked_about_the_emails_that_may_have_to_wait() -> None:
    """Emails that are not known to be publishable have to be checked."""
    first, second = drafts(2)
    result = EnqueueResult(ids=(first.id, second.id), publishable=(first,))
    assert result.ids_to_check == (second.id,)
