"""One email is claimed, composed, sent and recorded in this process, with a real mail server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from fastapi_mail.fastmail import email_dispatched

from mailctl.delivery_log.operator_actions import AuditInfo
from mailctl.domain.catalog import GENERIC, RESET
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.worker.delivery_options import DeliveryOptions
from tests.integration.delivering import WORKER, Post
from tests.smtp_server import AcceptThenDrop, Drop, Reply, ScriptedSmtpServer, Stall
from tests.tokens import hs256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage
    from pathlib import Path


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


@pytest.mark.parametrize(("policy", "state"), [("resend", State.DEFERRED), ("hold", State.HELD)])
def test_an_ambiguous_email_is_deferred_or_held(
    tmp_path: Path, smtp: ScriptedSmtpServer, policy: str, state: State
) -> None:
    """As MAILCTL_ON_AMBIGUOUS says: sent again with the same Message-ID, or left to an operator."""
    smtp.script["body"] = [Drop()]
    post = Post(tmp_path, smtp, mailctl_on_ambiguous=policy)
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
