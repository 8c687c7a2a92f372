"""FastAPI-Mail's signal for accepted messages."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastapi_mail.fastmail import email_dispatched

from mailctl.domain.models import Envelope
from mailctl.smtp.dispatch_signal import signal_dispatched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage

    import pytest

ENVELOPE = Envelope(
    sender="noreply@example.com",
    recipient="zoe@example.com",
    message_id="<1@example.com>",
    data=b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nTo: zoe@example.com\r\n\r\nHello\r\n",
    subject="Grüße",
)


@contextmanager
def receiving(receiver: Callable[[Any], object]) -> Iterator[None]:
    """Connect a receiver for the time of the block."""
    with email_dispatched.connected_to(receiver):
        yield


def test_receivers_get_the_message() -> None:
    """As FastAPI-Mail passes it: a message of the standard library."""
    received: list[EmailMessage] = []
    with receiving(received.append):
        signal_dispatched(ENVELOPE)
    [message] = received
    assert (message["Subject"], message["To"]) == ("Grüße", "zoe@example.com")
    assert message.get_content() == "Hello\n"


def test_without_receivers_nothing_is_parsed() -> None:
    """The bytes need not even be a message."""
    signal_dispatched(Envelope(**{**vars(ENVELOPE), "data": None}))


def test_a_receiver_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The email is sent; what the receiver says may quote it."""

    def raising(message: EmailMessage) -> None:
        raise ValueError(message["To"])

    with receiving(raising):
        signal_dispatched(ENVELOPE)
    assert "ValueError" in caplog.text
    assert "zoe@" not in caplog.text
