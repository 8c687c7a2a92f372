"""SparkPost: a list of events a request, not signed.

https://developers.sparkpost.com/api/webhooks/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from mailctl.domain.provider_headers import ID_KEY
from mailctl.feedback.providers import report
from mailctl.feedback.providers.payload import Fields, event_id, load_list
from mailctl.feedback.providers.webhook import ParsedWebhook, UnsignedProvider, WebhookRequest, collect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailctl.feedback.models import Feedback
    from mailctl.feedback.providers.report import EventMeaning

_VERDICTS: Mapping[str, EventMeaning] = {
    "delivery": report.DELIVERED,
    "delay": report.DELAYED,
    "list_unsubscribe": report.UNSUBSCRIBED,
    "link_unsubscribe": report.UNSUBSCRIBED,
    "policy_rejection": report.SOFT_BOUNCE,
    "generation_failure": report.SOFT_BOUNCE,
    "generation_rejection": report.SOFT_BOUNCE,
}
#: By the class of a bounce; the other classes are soft.
_BOUNCES: Mapping[int | None, EventMeaning | None] = {
    None: report.BOUNCE,
    1: report.BOUNCE,  # undetermined
    10: report.HARD_BOUNCE,  # invalid recipient
    30: report.HARD_BOUNCE,  # no recipient
    60: None,  # automatic reply
    80: None,  # request to subscribe
    90: report.UNSUBSCRIBED,
    100: None,  # challenge
}


class SparkPost(UnsignedProvider):
    """The event webhooks of SparkPost."""

    name = "sparkpost"
    max_body_bytes = 4_194_304

    @override
    def parse(self, request: WebhookRequest) -> ParsedWebhook:
        return collect(self._read(event) for event in load_list(request.body))

    def _read(self, value: object) -> Iterator[Feedback]:
        envelope = Fields(value).object("msys")
        kinds = ("message_event", "gen_event", "unsubscribe_event")
        # What is in no such member is a test of the webhook, or tells of clicks and openings.
        event = next((envelope.object(kind) for kind in kinds if kind in envelope), None)
        if event is None or (verdict := _verdict(event)) is None:
            return
        yield report.make_report(
            self.name,
            verdict,
            source_id=event_id(event.required("event_id")),
            at=event.seconds("timestamp"),
            email_id=event.object("rcpt_meta").text(ID_KEY),
            recipient=event.text("raw_rcpt_to") or event.text("rcpt_to"),
            diagnostic=event.diagnostic("raw_reason", "reason"),
            smtp_code=event.whole("error_code"),
            remote_server=event.text("remote_addr"),
        )


def _verdict(event: Fields) -> EventMeaning | None:
    name = event.required("type")
    if name in ("bounce", "out_of_band"):
        return _BOUNCES.get(event.whole("bounce_class"), report.SOFT_BOUNCE)
    if name == "spam_complaint":
        return report.complaint_of_type(event.text("fbtype"))
    return _VERDICTS.get(name)
