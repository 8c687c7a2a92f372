"""Messages as JSON."""

from __future__ import annotations

from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.models import Envelope
from mailctl.domain.states import State
from mailctl.operations.message_viewer import MessageDetails, MessageSource
from mailctl.operations.preview import Preview
from mailctl.views.messages import EnvelopeView, MessageView, PreviewView, RawMessageView
from tests.emails import email

ENVELOPE = Envelope(
    sender="app@example.com",
    recipient="zoe@example.com",
    message_id="<1@example.com>",
    data=b"Subject: Hi\r\n\r\nHello\r\n",
    subject="Hi",
    links={"reset_url": "https://example.com/r"},
    text="Hello\n",
)
MESSAGE = MessageDetails(
    email=email(State.PENDING),
    source=MessageSource.COMPOSED,
    note="Composed now.",
    headers=(("Subject", "Hi"),),
    text="Hello",
    html_as_text="Hello there",
    raw=b"Subject: Hi\r\n\r\n\xff\r\n",
)


def test_the_sender_is_called_from() -> None:
    """As in a message; the size is that of the whole of it."""
    assert EnvelopeView.of(ENVELOPE).as_json() == {
        "to": "zoe@example.com",
        "from": "app@example.com",
        "subject": "Hi",
        "message_id": "<1@example.com>",
        "size": 22,
        "text": "Hello\n",
    }


def test_a_preview_has_its_html_and_its_links() -> None:
    """Beside what every envelope has."""
    preview = Preview(kind=BUILT_IN_KINDS["reset"], envelope=ENVELOPE, html="<p>Hello</p>")
    printed = PreviewView.of_preview(preview).as_json()
    assert printed.items() >= EnvelopeView.of(ENVELOPE).as_json().items()
    assert (printed["kind"], printed["html"], printed["links"]) == (
        "reset",
        "<p>Hello</p>",
        {"reset_url": "https://example.com/r"},
    )


def test_the_html_of_a_message_is_text() -> None:
    """Headers keep their order."""
    printed = MessageView.of(MESSAGE).as_json()
    assert (printed["source"], printed["text"], printed["html"]) == ("composed", "Hello", "Hello there")
    assert printed["headers"] == [{"name": "Subject", "value": "Hi"}]
    assert "raw" not in printed


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    """JSON cannot have them."""
    assert MESSAGE.raw is not None
    printed = RawMessageView.of_raw(MESSAGE, MESSAGE.raw).as_json()
    assert printed["raw"] == "Subject: Hi\r\n\r\n�\r\n"
