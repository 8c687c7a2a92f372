"""Mailjet: one event a request, or a list of them, not signed.

https://dev.mailjet.com/email/guides/webhooks/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from mailctl.feedback.providers import report
from mailctl.feedback.providers.payload import Fields, event_id, load_list
from mailctl.feedback.providers.webhook import ParsedWebhook, UnsignedProvider, WebhookRequest, collect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailctl.feedback.models import Feedback
    from mailctl.feedback.providers.report import EventMeaning

_VERDICTS: Mapping[str, EventMeaning] = {
    "sent": report.DELIVERED,  # the recipient's mail server accepted it
    "blocked": report.SOFT_BOUNCE,
    "spam": report.COMPLAINED,
    "unsub": report.UNSUBSCRIBED,
}
#: The error of a bounce that Mailjet tries again.
_GREYLISTED = "greylisted"


class Mailjet(UnsignedProvider):
    """The Event API of Mailjet."""

    name = "mailjet"

    @override
    def parse(self, request: WebhookRequest) -> ParsedWebhook:
        return collect(self._read(event) for event in load_list(request.body))

    def _read(self, value: object) -> Iterator[Feedback]:
        event = Fields(value)
        name = event.required("event")
        if (verdict := _verdict(name, event)) is None:
            return
        recipient, time = event.text("email"), event.required("time")
        yield report.make_report(
            self.name,
            verdict,
            source_id=event_id(name, event.required("MessageID"), recipient, time),
            at=event.seconds("time"),
            email_id=event.text("CustomID"),
            recipient=recipient,
            diagnostic=event.diagnostic("smtp_reply", "comment", "error", "source"),
        )


def _verdict(name: str, event: Fields) -> EventMeaning | None:
    if name != "bounce":
        return _VERDICTS.get(name)
    if event.flag("hard_bounce"):
        return report.HARD_BOUNCE
    return report.DELAYED if event.text("error") == _GREYLISTED else report.SOFT_BOUNCE
