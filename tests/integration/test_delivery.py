"""One email is claimed, composed, sent and recorded in this process, with a real mail server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from fastapi_mail.fastmail import email_dispatched

from mailctl.delivery_log.operator_actions import AuditInfo
from mailctl.diagnosis.eligibility_checker import EligibilityChecker
from mailctl.domain.catalog import GENERIC, RESET, WELCOME
from mailctl.domain.eligibility import RETRY
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.models import State
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.operations.message_viewer import MessageSource, MessageViewer
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.worker.delivery import Delivery
from mailctl.worker.delivery_options import DeliveryOptions
from mailctl.worker.event_loop import CoroutineRun, EventLoopThread
from tests.smtp_server import AcceptThenDrop, Drop, Reply, ScriptedSmtpServer, Stall
from tests.tokens import hs256

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from email.message import EmailMessage
    from pathlib import Path

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Email
    from mailctl.worker.outcomes import DeliveryResult

WORKER = "w@host"
#: A recipient as messages name it, and an origin that is not in the settings.
ZOE = {"id": 7, "email": "zoe@example.com", "username": "zoe"}
ELSEWHERE = "https://shop.example"
LINK = f"{ELSEWHERE}/page?t=a-token-of-the-service"


class Loop(EventLoopThread):
    """An event loop that remembers what runs on it."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[CoroutineRun[Any]] = []

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> CoroutineRun[Any]:
        self.runs.append(super().start(coroutine))
        return self.runs[-1]


class Post:
    """A delivery with its log and its mail server."""

    def __init__(self, folder: Path, smtp: ScriptedSmtpServer, **more: object) -> None:
        self.smtp = smtp
        self.runtime = Runtime(
            Settings(
                email_enabled=True,
                email_host="127.0.0.1",
                email_port=smtp.port,
                email_tls="none",
                mailctl_home=folder,
                secret_key="a-secret-key-of-the-service-that-is-long",  # type: ignore[arg-type]
                **more,  # type: ignore[arg-type]
            )
        )
        self._event_loop = self.loop = Loop()
        self._sender = self.runtime.make_sender()
        self.delivery = self._make_delivery(self.runtime)
        self._others: list[Runtime] = []

    def _make_delivery(self, runtime: Runtime) -> Delivery:
        # A busy machine may take longer than a turn for what each test asks for.
        return Delivery(runtime, event_loop=self._event_loop, sender=self._sender, turn_seconds=60.0)

    def runtime_with(self, **changed: object) -> Runtime:
        """Return the parts of a process on the same log with other settings."""
        runtime = Runtime(self.runtime.settings.model_copy(update=changed))
        self._others.append(runtime)
        return runtime

    def with_settings(self, **changed: object) -> Delivery:
        """Return a delivery on the same log with other settings, as after a restart."""
        runtime = self.runtime_with(**changed)
        return self._make_delivery(runtime)

    def receive(
        self, task_id: str, kind: Kind, arguments: dict[str, object], *, delivery: Delivery | None = None
    ) -> DeliveryResult:
        """Deliver a message of another program as its task does."""
        return (delivery or self.delivery).deliver_message(
            task_id, EmailRequest(kind=kind), arguments, queue="celery", worker=WORKER
        )

    def retry(self, email_id: str) -> None:
        """Retry an email as an operator."""
        facts = EligibilityChecker(self.runtime).available_actions(self.email(email_id))
        assert "retry" in [each.action for each in facts]
        states, audit = RETRY.allowed_states, AuditInfo(actor="zoe@desk")
        assert self.runtime.actions.retry(
            [email_id], from_states=states, audit=audit, lifetime=None, is_forced=False, again=False
        )

    def record(self, address: str = "zoe@example.com") -> str:
        """Record a welcome email, and mark it as queued."""
        content = make_content(WELCOME, make_user(email=address), origins=self.runtime.link_origins)
        [email_id] = Enqueuer(self.runtime).record(EmailRequest(kind=WELCOME), [content]).ids
        self.runtime.publications.mark_queued([email_id])
        return email_id

    def deliver(self, email_id: str) -> DeliveryResult:
        """Deliver an email as its task does."""
        return self.delivery.deliver(email_id, worker=WORKER)

    def deliver_batch(self, ids: list[str]) -> int:
        """Deliver a batch as its task does, wait until it is recorded, and return how many were started."""
        started = self.delivery.deliver_batch(ids, worker=WORKER)
        self.delivery.finish()
        return started

    def email(self, email_id: str) -> Email:
        """Return an email from the log."""
        return self.runtime.history.find(email_id)[0]

    def close(self) -> None:
        """Close everything."""
        self.delivery.close()
        self._event_loop.close(self._sender.close())
        for other in self._others:
            other.close()
        self.runtime.close()


@pytest.fixture
def smtp() -> Iterator[ScriptedSmtpServer]:
    """A mail server that accepts everything unless a test scripts it."""
    with ScriptedSmtpServer() as server:
        yield server


@pytest.fixture
def post(tmp_path: Path, smtp: ScriptedSmtpServer) -> Iterator[Post]:
    """A delivery on an empty log."""
    post = Post(tmp_path, smtp)
    yield post
    post.close()


def test_an_email_is_sent_once(post: Post) -> None:
    """A second message for the same email finds nothing to do."""
    email_id = post.record()
    assert [post.deliver(email_id).state for _ in range(2)] == [State.SENT, None]
    [message] = post.smtp.messages
    email = post.email(email_id)
    assert (email.message_id, email.reply.code, email.worker) == (message.message_id, 250, WORKER)


def test_what_listens_to_fastapi_mail_hears_of_accepted_emails_alone(post: Post) -> None:
    """One by one or in a batch, after the outcome is recorded; not of refused or captured ones."""
    heard: list[tuple[str, State]] = []

    def listen(message: EmailMessage) -> None:
        [email] = [email for email in map(post.email, ids) if email.to == message["To"]]
        heard.append((email.to, email.state))

    addresses = [f"{name}@example.com" for name in ("ada", "eve", "zoe", "max")]
    ids = [post.record(address) for address in addresses]
    post.smtp.script["rcpt"] = [None, Reply("550 5.1.1 no such user")]
    with email_dispatched.connected_to(listen):
        post.deliver(ids[0])
        post.deliver(ids[1])
        assert post.deliver_batch(ids[2:]) == 2
    assert sorted(heard) == [(address, State.SENT) for address in sorted(addresses) if "eve" not in address]


def test_an_unknown_email_is_ignored(post: Post) -> None:
    """Its message is acknowledged."""
    assert post.deliver("nobody-knows-this").state is None


def test_a_temporary_reply_defers_an_email(post: Post) -> None:
    """The log has the reply and the time of the next attempt."""
    post.smtp.script["rcpt"] = ["451 4.3.0 later"]
    email_id = post.record()
    assert post.deliver(email_id).state is State.DEFERRED
    email = post.email(email_id)
    assert (email.reply.code, email.reply.enhanced, email.attempts) == (451, "4.3.0", 1)
    assert email.next_attempt_at is not None


def one_by_one(post: Post, email_id: str) -> None:
    """Deliver an email by itself."""
    post.deliver(email_id)


def in_a_group(post: Post, email_id: str) -> None:
    """Deliver an email as its group does."""
    post.deliver_batch([email_id])


@pytest.mark.parametrize("deliver", [one_by_one, in_a_group])
@pytest.mark.parametrize(("stage", "code"), [("rcpt", ReasonCode.INTERRUPTED), ("body", ReasonCode.NO_REPLY)])
def test_an_interrupted_attempt_ends_when_it_is_interrupted(
    post: Post, stage: str, code: ReasonCode, deliver: Callable[[Post, str], None]
) -> None:
    """And not with its lease; only what the mail server has may have been sent."""

    def interrupt(_: object) -> Stall:
        post.loop.runs[-1].interrupt()
        return Stall(1)

    post.smtp.script[stage] = interrupt
    email_id = post.record()
    deliver(post, email_id)
    email = post.email(email_id)
    assert (email.state, email.reason_code, email.attempts) == (State.DEFERRED, code, 1)
    assert post.runtime.actions.read_facts([email_id]).maybe_sent == (
        {email_id} if stage == "body" else set()
    )


def test_a_time_limit_ends_an_attempt(post: Post) -> None:
    """It is tried again like any other that failed."""
    post.smtp.script["banner"] = [Stall(60), Stall(60)]
    ids = [post.record(), post.record()]
    options = DeliveryOptions(seconds=0.1)
    assert post.delivery.deliver(ids[0], worker=WORKER, options=options).state is State.DEFERRED
    post.delivery.deliver_batch(ids[1:], worker=WORKER, options=options)
    post.delivery.finish()
    assert {post.email(email_id).state for email_id in ids} == {State.DEFERRED}


@pytest.mark.parametrize("tokens", ["as-given", "sealed"])
def test_a_reply_that_quotes_the_link_is_recorded_without_it(
    tmp_path: Path, smtp: ScriptedSmtpServer, tokens: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the log, nor its events, nor what the worker logs has the token of the service."""
    token = hs256({"sub": "7"}, exp=datetime.now(UTC) + timedelta(minutes=30))
    post = Post(tmp_path, smtp, mailctl_link_tokens=tokens)
    user = make_user(email="zoe@example.com", id=7)
    content = make_content(RESET, user, origins=frozenset(), tokens={"token": token})
    [email_id] = Enqueuer(post.runtime).record(EmailRequest(kind=RESET), [content]).ids
    url = post.runtime.links.make_urls(RESET, content, now=datetime.now(UTC))["reset_url"]
    smtp.script["body"] = [f"550 5.7.1 {url} is on a block list, see https://help.example/?q=1"]
    with caplog.at_level("DEBUG"):
        assert post.deliver(email_id).state is State.FAILED
    email, events = post.email(email_id), post.runtime.history.events(email_id)
    post.close()
    seen = repr((email, events)) + caplog.text
    assert "reset-password?t=*** is on a block list, see https://help.example/?q=1" in seen
    assert token not in seen
    assert url not in seen


def test_a_permanent_reply_fails_an_email(post: Post) -> None:
    """The circuit stays closed, because the recipient is the cause."""
    post.smtp.script["rcpt"] = ["550 5.1.1 no such user"]
    email_id = post.record()
    assert post.deliver(email_id).state is State.FAILED
    assert "5.1.1" in (post.email(email_id).error or "")
    assert post.deliver(post.record("max@example.com")).state is State.SENT


@pytest.mark.parametrize(("wish", "state"), [("resend", State.DEFERRED), ("hold", State.HELD)])
def test_an_ambiguous_email_is_deferred_or_held(
    tmp_path: Path, smtp: ScriptedSmtpServer, wish: str, state: State
) -> None:
    """As MAILCTL_ON_AMBIGUOUS says: sent again with the same Message-ID, or left to an operator."""
    smtp.script["body"] = [Drop()]
    post = Post(tmp_path, smtp, mailctl_on_ambiguous=wish)
    email_id = post.record()
    assert post.deliver(email_id).state is state
    assert post.email(email_id).message_id
    post.close()


def test_an_email_is_sent_again_at_most_twice_while_replies_are_lost(
    tmp_path: Path, smtp: ScriptedSmtpServer
) -> None:
    """Then an operator decides; one that is released may go out as often again."""
    smtp.script["body"] = [AcceptThenDrop()] * 10
    post = Post(tmp_path, smtp, mailctl_retry_first_seconds=1e-6)
    email_id = post.record()
    attempts = [State.DEFERRED, State.DEFERRED, State.HELD]
    assert [post.deliver(email_id).state for _ in attempts] == attempts
    assert post.email(email_id).reason_code is ReasonCode.NO_REPLY
    operator = AuditInfo(actor="ops@host")
    post.runtime.actions.release([email_id], from_states=[State.HELD], audit=operator, again=False)
    assert [post.deliver(email_id).state for _ in attempts] == attempts
    assert [len(copies) for copies in smtp.by_message_id().values()] == [6]
    post.close()


def test_a_dead_server_opens_the_circuit(post: Post) -> None:
    """After three failures the other emails are postponed, and no email loses an attempt."""
    post.smtp.script["banner"] = [Drop()] * 10
    ids = [post.record() for _ in range(5)]
    states = [post.deliver(email_id).state for email_id in ids]
    assert states == [State.DEFERRED] * 3 + [State.PENDING] * 2
    assert post.email(ids[4]).reason_code is ReasonCode.MAIL_SERVER_DOWN
    assert len(post.smtp.messages) == 0


class TestMessagesOfOtherPrograms:
    def test_a_message_without_a_row_is_recorded(self, post: Post) -> None:
        """Its Celery task id becomes the id of the email."""
        report = post.delivery.deliver_message(
            "task-1",
            EmailRequest(kind=WELCOME),
            {"user_data": {"username": "zoe", "email": "zoe@example.com", "first_name": "Zoe"}},
            queue="celery",
            worker=WORKER,
        )
        assert (report.state, post.email("task-1").state) == (State.SENT, State.SENT)

    def test_an_invalid_message_is_recorded_as_failed(self, post: Post) -> None:
        """The log has the reason, and the worker continues."""
        report = post.delivery.deliver_message(
            "task-2",
            EmailRequest(kind=RESET),
            {"user_data": 42, "reset_url": None},
            queue="celery",
            worker=WORKER,
        )
        assert (report.state, post.email("task-2").state) == (State.FAILED, State.FAILED)
        assert post.email("task-2").error

    def test_an_invalid_message_keeps_its_address_and_content(self, post: Post) -> None:
        """It is found by its address, shown with masked links, and fails again when it is retried."""
        arguments = {"user_data": ZOE, "reset_url": f"{ELSEWHERE}/reset?t=a-token-of-the-service"}
        report = post.receive("task-4", RESET, arguments)
        assert (report.state, post.email("task-4").to) == (State.FAILED, "zoe@example.com")
        shown = MessageViewer(post.runtime, reveals=False).show("task-4")
        assert (shown.source, "zoe@example.com" in str(shown.text)) == (MessageSource.ARGUMENTS, True)
        assert "a-token-of-the-service" not in str(shown.text)
        post.retry("task-4")
        assert post.delivery.deliver("task-4", worker=WORKER).state is State.FAILED
        assert "which is not one of" in str(post.email("task-4").error)
        assert post.smtp.messages == []

    def test_a_corrected_setting_makes_it_right(self, post: Post) -> None:
        """FRONTEND_URL was that of another service; `retry` validates again, and sends."""
        arguments = {"user_data": ZOE, "reset_url": f"{ELSEWHERE}/reset?t=a-token-of-the-service"}
        post.receive("task-5", RESET, arguments)
        post.retry("task-5")
        corrected = post.with_settings(frontend_url=ELSEWHERE)
        assert corrected.deliver("task-5", worker=WORKER).state is State.SENT
        [message] = post.smtp.messages
        assert ELSEWHERE.encode() in message.data

    @pytest.mark.parametrize("address", ["zoe@@example.com", "zoe@example.com\nBcc: x@example.com", 7, None])
    def test_an_invalid_address_is_kept_if_it_can_be_printed(self, post: Post, address: object) -> None:
        """It gets no email, also not by a retry."""
        arguments = {"user_data": {"id": 7, "username": "zoe", "email": address}}
        assert post.receive("task-6", WELCOME, arguments).state is State.FAILED
        email = post.email("task-6")
        assert (email.to, email.user_id) == (address if address == "zoe@@example.com" else "", "7")
        post.retry("task-6")
        assert post.delivery.deliver("task-6", worker=WORKER).state is State.FAILED

    def test_our_own_misconfiguration_defers_a_message(self, post: Post) -> None:
        """In production, FRONTEND_URL is still that of development: no link is right, and none is wrong."""
        wrong = post.with_settings(debug=False, frontend_url="http://localhost:3000")
        arguments = {"user_data": ZOE, "reset_url": f"{ELSEWHERE}/reset?t=a-token-of-the-service"}
        report = post.receive("task-7", RESET, arguments, delivery=wrong)
        email = post.email("task-7")
        assert (report.state, email.state, email.to) == (State.DEFERRED, State.DEFERRED, "zoe@example.com")
        assert (email.reason_code, email.attempts) == (ReasonCode.CONFIGURATION, 0)
        assert "FRONTEND_URL" in str(email.error)
        right = post.with_settings(debug=False, frontend_url=ELSEWHERE)
        post.retry("task-7")
        assert right.deliver("task-7", worker=WORKER).state is State.SENT

    @pytest.mark.parametrize(
        "request_",
        [
            EmailRequest(kind=RESET),
            EmailRequest(kind=RESET, tokens={"token": "a-token-of-the-service"}),
            EmailRequest(kind=GENERIC, subject="Hello", template="reset", context={"reset_url": LINK}),
            EmailRequest(
                kind=GENERIC,
                subject="Hello",
                template="message",
                context={"title": "", "body": "", "action_url": LINK},
            ),
        ],
        ids=["made", "token", "template", "button"],
    )
    def test_our_own_misconfiguration_defers_what_the_service_asks_for(
        self, post: Post, request_: EmailRequest
    ) -> None:
        """Whoever makes the link, and wherever it is: nothing goes out, and nothing is lost."""
        wrong = {"debug": False, "frontend_url": "http://localhost:3000"}
        enqueuer, user = Enqueuer(post.runtime_with(**wrong)), make_user(email="zoe@example.com", id=7)
        content = enqueuer.make_content(request_, user)
        enqueuer.refuse_unrenderable(request_, [content])
        [email_id] = enqueuer.record(request_, [content]).ids
        post.runtime.publications.mark_queued([email_id])
        assert post.with_settings(**wrong).deliver(email_id, worker=WORKER).state is State.DEFERRED
        email = post.email(email_id)
        assert (email.to, email.reason_code, email.attempts) == (user.email, ReasonCode.CONFIGURATION, 0)
        assert MessageViewer(post.runtime_with(**wrong), reveals=False).show(email_id).text
        post.retry(email_id)
        right = post.with_settings(debug=False, frontend_url=ELSEWHERE)
        assert right.deliver(email_id, worker=WORKER).state is State.SENT
        [message] = post.smtp.messages
        assert b"localhost" not in message.data
        assert ELSEWHERE.encode() in message.data

    def test_links_to_this_computer_go_out_if_they_are_named(self, post: Post) -> None:
        """In production on one computer, MAILCTL_LINK_ORIGINS allows them."""
        local = "http://localhost:3000"
        settings = {"debug": False, "frontend_url": local, "mailctl_link_origins": local}
        arguments = {"user_data": ZOE, "reset_url": f"{local}/reset?t=a-token-of-the-service"}
        named = post.with_settings(**settings)
        assert post.receive("task-9", RESET, arguments, delivery=named).state is State.SENT

    def test_invalid_messages_do_not_count_in_limits(self, post: Post) -> None:
        """Nothing was sent: the next valid one goes out."""
        arguments = {"user_data": ZOE, "reset_url": f"{ELSEWHERE}/reset?t=a-token-of-the-service"}
        for number in range(6):
            assert post.receive(f"bad-{number}", RESET, arguments).state is State.FAILED
        valid = arguments | {"reset_url": "http://localhost:3000/reset?t=a-token-of-the-service"}
        assert post.receive("good", RESET, valid).state is State.SENT

    def test_of_several_recipients_the_good_ones_get_their_email(self, post: Post) -> None:
        """Each bad one has a row of its own in the group, behind the good ones."""
        arguments = {
            "subject": "Hello",
            "recipients": [
                {"email": "b@@example.com"},
                {"email": "a@example.com"},
                7,
                {"email": "c@example.com"},
            ],
            "template_name": "message",
            "context": {"title": "Hello", "body": "It is ready."},
        }
        assert post.receive("task-8", GENERIC, arguments).state is State.SENT
        group = post.runtime.history.find_group(post.email("task-8"))
        assert [(email.to, email.state) for email in group] == [
            ("a@example.com", State.SENT),
            ("c@example.com", State.PENDING),
            ("b@@example.com", State.FAILED),
            ("", State.FAILED),
        ]
        assert [email.reason_code for email in group[2:]] == [ReasonCode.INVALID_MESSAGE] * 2
        # Delivered again by the broker, the message changes nothing.
        post.receive("task-8", GENERIC, arguments)
        assert len(post.runtime.history.find_group(post.email("task-8"))) == 4

    def test_each_recipient_becomes_an_email(self, post: Post) -> None:
        """The message delivers the first, and the log the others."""
        arguments = {
            "subject": "Hello",
            "recipients": [{"name": "A", "email": "a@example.com"}, {"name": "B", "email": "b@example.com"}],
            "template_name": "message",
            "context": {"title": "Hello", "body": "It is ready."},
        }
        report = post.delivery.deliver_message(
            "task-3", EmailRequest(kind=GENERIC), arguments, queue="celery", worker=WORKER
        )
        assert report.state is State.SENT
        group = post.runtime.history.find_group(post.email("task-3"))
        assert [(email.to, email.state) for email in group] == [
            ("a@example.com", State.SENT),
            ("b@example.com", State.PENDING),
        ]


def test_an_email_that_cannot_be_rendered_fails(post: Post) -> None:
    """A retry would fail again."""
    content = make_content(
        GENERIC,
        make_user(email="zoe@example.com"),
        origins=post.runtime.link_origins,
        subject="Hello",
        template="there-is-no-such-template",
    )
    email_id = Enqueuer(post.runtime).record(EmailRequest(kind=GENERIC), [content]).ids[0]
    assert post.deliver(email_id).state is State.FAILED
    assert "there-is-no-such-template" in (post.email(email_id).error or "")
