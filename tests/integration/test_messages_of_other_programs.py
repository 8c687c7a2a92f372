"""Messages of other programs become emails, or failed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.domain.catalog import GENERIC, RESET, WELCOME
from mailctl.domain.factory import make_user
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.operations.message_viewer import MessageSource, MessageViewer
from tests.integration.delivering import WORKER, Post

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.smtp_server import ScriptedSmtpServer


#: A recipient as messages name it, and an origin that is not in the settings.
ZOE = {"id": 7, "email": "zoe@example.com", "username": "zoe"}
ELSEWHERE = "https://shop.example"
LINK = f"{ELSEWHERE}/page?t=a-token-of-the-service"


@pytest.fixture
def post(tmp_path: Path, smtp: ScriptedSmtpServer) -> Iterator[Post]:
    """A delivery on an empty log."""
    post = Post(tmp_path, smtp)
    yield post
    post.close()


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
