"""Showing finished messages that are not sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.cli.views import envelope_view

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.cli.context import Session
    from mailctl.message import Envelope


def show_preview(session: Session, envelopes: Iterable[Envelope]) -> None:
    """Print messages: one object each, or headers and text."""
    for envelope in envelopes:
        if session.output.as_json:
            session.output.record(envelope_view(envelope))
        else:
            view = envelope_view(envelope)
            text = view.pop("text")
            session.output.fields([(name, str(value)) for name, value in view.items()])
            session.output.line()
            session.output.line(text)
