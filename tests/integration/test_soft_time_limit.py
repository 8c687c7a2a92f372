"""A soft time limit of Celery reaches a worker's process at any moment; no email waits for its lease then."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from billiard.pool import soft_timeout_sighandler
from sqlalchemy import event

from mailctl.domain.catalog import WELCOME
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.worker.delivery_options import DeliveryOptions
from mailctl.worker.soft_time_limit import soft_time_limit_deferred
from tests.integration.delivering import Post
from tests.smtp_server import ScriptedSmtpServer, Stall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mailctl.domain.models import Json


@pytest.fixture
def smtp() -> Iterator[ScriptedSmtpServer]:
    """A mail server."""
    with ScriptedSmtpServer() as server:
        yield server


@pytest.fixture
def post(tmp_path: Path, smtp: ScriptedSmtpServer) -> Iterator[Post]:
    """A delivery in a process that handles the signal as those of Celery's pool do."""
    before = signal.signal(signal.SIGUSR1, soft_timeout_sighandler)
    found = Post(tmp_path, smtp)
    yield found
    found.close()
    signal.signal(signal.SIGUSR1, before)


def limit_at(post: Post, statement: str, *, when: str) -> None:
    """Let the limit be reached before or after the first execution of a statement that begins so."""
    is_left = [True]

    @event.listens_for(post.runtime.engine, f"{when}_cursor_execute")
    def reach(_: object, __: object, text: str, *___: object) -> None:
        if text.startswith(statement) and is_left:
            is_left.clear()
            signal.raise_signal(signal.SIGUSR1)


def one_by_one(post: Post, email_id: str) -> None:
    """Deliver an email by itself, as its task does."""
    with soft_time_limit_deferred() as limit:
        post.delivery.deliver(email_id, worker="w", options=DeliveryOptions(soft_limit=limit))


def in_a_group(post: Post, *ids: str) -> None:
    """Deliver emails as their group does."""
    with soft_time_limit_deferred() as limit:
        post.delivery.deliver_batch(ids, worker="w", options=DeliveryOptions(soft_limit=limit))


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_outcome_is_written_first(post: Post, when: str) -> None:
    """The mail server has the email, and the log says so although the task ends with the exception."""
    email_id = post.record()
    post.smtp.script["body"] = lambda _: limit_at(post, "UPDATE mailctl_emails", when=when)
    with pytest.raises(SoftTimeLimitExceeded):
        one_by_one(post, email_id)
    assert post.email(email_id).state is State.SENT


@pytest.mark.parametrize("deliver", [one_by_one, in_a_group])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_claim_is_not_forgotten(post: Post, when: str, deliver: Callable[[Post, str], None]) -> None:
    """What was just claimed is interrupted, and recorded as that: the mail server does not have it."""
    email_id = post.record()
    limit_at(post, "UPDATE mailctl_emails", when=when)
    with pytest.raises(SoftTimeLimitExceeded):
        deliver(post, email_id)
    post.delivery.finish()
    email = post.email(email_id)
    assert (email.state, email.reason_code) == (State.DEFERRED, ReasonCode.INTERRUPTED)
    assert post.smtp.messages == []


def test_an_attempt_that_takes_long_ends_at_once(post: Post) -> None:
    """Its outcome is recorded by the same task."""
    email_id = post.record()

    def reach(_: object) -> Stall:
        os.kill(os.getpid(), signal.SIGUSR1)
        return Stall(600)

    post.smtp.script["rcpt"] = reach
    with pytest.raises(SoftTimeLimitExceeded):
        one_by_one(post, email_id)
    assert post.email(email_id).reason_code is ReasonCode.INTERRUPTED


def test_what_was_not_begun_goes_back_to_the_log(post: Post) -> None:
    """Of a group: it is claimed no more once the limit is reached."""
    ids = [post.record(f"zoe{number}@example.com") for number in range(100)]
    limit_at(post, "UPDATE mailctl_emails", when="after")
    with pytest.raises(SoftTimeLimitExceeded):
        in_a_group(post, *ids)
    post.delivery.finish()
    found = [post.email(email_id).state for email_id in ids]
    assert set(found) == {State.DEFERRED, State.PENDING}
    assert found.count(State.PENDING) >= 50


def test_a_message_of_another_program_is_recorded_first(post: Post) -> None:
    """Celery acknowledges a message whose task the limit ends: nobody else would have the email."""
    arguments: dict[str, Json] = {"user_data": {"username": "zoe", "email": "zoe@example.com"}}
    limit_at(post, "INSERT INTO mailctl_emails", when="before")
    request = EmailRequest(kind=WELCOME)

    def receive() -> None:
        with soft_time_limit_deferred() as limit:
            post.delivery.deliver_message(
                "a-message",
                request,
                arguments,
                queue="celery",
                worker="w",
                options=DeliveryOptions(soft_limit=limit),
            )

    with pytest.raises(SoftTimeLimitExceeded):
        receive()
    assert post.email("a-message").state is State.DEFERRED
