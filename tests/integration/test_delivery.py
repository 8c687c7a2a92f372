"""One email is claimed, composed, sent and recorded in this process, with a real mail server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.operator_actions import AuditInfo
from mailctl.domain.catalog import GENERIC, RESET, WELCOME
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.models import State
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.worker.delivery import Delivery
from mailctl.worker.event_loop import EventLoopThread
from tests.smtp_server import AcceptThenDrop, Drop, ScriptedSmtpServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailctl.domain.models import Email
    from mailctl.worker.outcomes import DeliveryResult

WORKER = "w@host"


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
                **more,  # type: ignore[arg-type]
            )
        )
        self._event_loop = EventLoopThread()
        self._sender = self.runtime.make_sender()
        self.delivery = Delivery(self.runtime, event_loop=self._event_loop, sender=self._sender)

    def record(self, address: str = "zoe@example.com") -> str:
        """Record a welcome email, and mark it as queued."""
        content = make_content(WELCOME, make_user(email=address), origins=self.runtime.link_origins)
        [email_id] = Enqueuer(self.runtime).record(EmailRequest(kind=WELCOME), [content]).ids
        self.runtime.publications.mark_queued([email_id])
        return email_id

    def deliver(self, email_id: str) -> DeliveryResult:
        """Deliver an email as its task does."""
        return self.delivery.deliver(email_id, worker=WORKER)

    def email(self, email_id: str) -> Email:
        """Return an email from the log."""
        return self.runtime.history.find(email_id)[0]

    def close(self) -> None:
        """Close everything."""
        self._event_loop.close(self._sender.close())
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
