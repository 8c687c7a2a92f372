"""Rendered messages: before they are sent, and as stored in the delivery log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from mailctl.domain.states import State
from mailctl.views.base import View

if TYPE_CHECKING:
    from mailctl.domain.models import Envelope
    from mailctl.operations.message_viewer import MessageDetails
    from mailctl.operations.preview import Preview


class EnvelopeView(View):
    """A message as it would be sent, as a dry run of `mailctl send` prints it."""

    to: str
    sender: str = Field(serialization_alias="from")
    subject: str
    message_id: str
    size: int = Field(description="Bytes of the whole message.")
    text: str = Field(description="The plain-text part.")

    @classmethod
    def of(cls, envelope: Envelope) -> EnvelopeView:
        """Return the view of an envelope."""
        return cls(**_envelope_fields(envelope))


class PreviewView(EnvelopeView):
    """A preview of a kind of email."""

    kind: str
    html: str = Field(description="The HTML part.")
    links: dict[str, str] = Field(description="The links in the message, by template variable.")

    @classmethod
    def of_preview(cls, preview: Preview) -> PreviewView:
        """Return the view of a preview."""
        return cls(
            **_envelope_fields(preview.envelope),
            kind=preview.kind.name,
            html=preview.html,
            links=dict(preview.envelope.links),
        )


class HeaderView(View):
    """One header of a message."""

    name: str
    value: str


class MessageView(View):
    """The content of an email; text and HTML are null if the log no longer has them."""

    task_id: str
    state: State
    source: str = Field(description="Where the content comes from: composed, file, arguments or log.")
    note: str
    headers: list[HeaderView]
    text: str | None
    html: str | None = Field(description="The HTML part, converted to text.")

    @classmethod
    def of(cls, message: MessageDetails) -> MessageView:
        """Return the view of a message."""
        return cls(**_message_fields(message))


class RawMessageView(MessageView):
    """The content of an email with its source, as `mailctl show --raw` prints it."""

    raw: str = Field(description="The source of the whole message (RFC 5322).")

    @classmethod
    def of_raw(cls, message: MessageDetails, source: bytes) -> RawMessageView:
        """Return the view of a message and its source; bytes that are not UTF-8 are replaced."""
        return cls(**_message_fields(message), raw=source.decode(errors="replace"))


def _envelope_fields(envelope: Envelope) -> dict[str, Any]:
    return {
        "to": envelope.recipient,
        "sender": envelope.from_address or envelope.sender,
        "subject": envelope.subject,
        "message_id": envelope.message_id,
        "size": len(envelope.data),
        "text": envelope.text,
    }


def _message_fields(message: MessageDetails) -> dict[str, Any]:
    return {
        "task_id": message.email.id,
        "state": message.email.state,
        "source": message.source,
        "note": message.note,
        "headers": [HeaderView(name=name, value=value) for name, value in message.headers],
        "text": message.text,
        "html": message.html_as_text,
    }
