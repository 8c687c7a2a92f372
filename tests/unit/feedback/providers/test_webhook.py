"""What every webhook has in common: sizes, secrets, times, and events that spoil no others."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from mailctl.feedback.providers.report import DELIVERED, make_report
from mailctl.feedback.providers.webhook import (
    ParsedWebhook,
    RefusalReason,
    UnsignedProvider,
    WebhookRefused,
    WebhookRequest,
    collect,
    require_fresh,
)
from tests.webhooks import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.feedback.models import Feedback


def request(*, body: bytes = b"{}", secret: str = "right", is_encrypted: bool = True) -> WebhookRequest:
    """Return a request with a secret in the header of mailctl."""
    headers = {"x-mailctl-secret": secret}
    return WebhookRequest(headers=headers, body=body, is_encrypted=is_encrypted, received_at=NOW)


class Provider(UnsignedProvider):
    """One that accepts ten octets and reports nothing."""

    name = "test"
    max_body_bytes = 10

    @override
    def parse(self, request: WebhookRequest) -> ParsedWebhook:
        return ParsedWebhook()


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (request(), None),
        (request(body=b"x" * 10), None),
        (request(body=b"x" * 11, secret="wrong"), RefusalReason.OVERSIZED),
        (request(secret="wrong", is_encrypted=False), RefusalReason.NOT_ENCRYPTED),
        (request(secret="wrong"), RefusalReason.FORGED),
    ],
)
def test_a_request_is_refused_before_it_is_read(
    received: WebhookRequest, reason: RefusalReason | None
) -> None:
    """For its size first, which costs least; without TLS its secret is not even compared."""
    found = None
    try:
        Provider(["right"]).receive(received)
    except WebhookRefused as refused:
        found = refused.reason
    assert found is reason


@pytest.mark.parametrize("reason", RefusalReason)
def test_each_refusal_is_a_sentence(reason: RefusalReason) -> None:
    """It is what the provider shows to whoever looks there."""
    assert str(WebhookRefused(reason)).endswith(".")


@pytest.mark.parametrize(
    ("signed_at", "reason"),
    [
        (NOW, None),
        (NOW - timedelta(hours=8, minutes=5), None),
        (NOW - timedelta(hours=8, minutes=6), RefusalReason.STALE),
        (NOW + timedelta(minutes=5), None),
        (NOW + timedelta(minutes=6), RefusalReason.STALE),
        (None, RefusalReason.MALFORMED),
    ],
)
def test_a_signature_holds_as_long_as_the_provider_retries(
    signed_at: datetime | None, reason: RefusalReason | None
) -> None:
    """The clocks may differ by five minutes in either direction."""
    found = None
    try:
        require_fresh(signed_at, request(), window=timedelta(hours=8))
    except WebhookRefused as refused:
        found = refused.reason
    assert found is reason


def _event(name: str, *, then: Exception | None = None) -> Iterator[Feedback]:
    yield make_report("test", DELIVERED, source_id=name, at=NOW)
    if then:
        raise then


def test_an_event_that_is_malformed_spoils_no_others() -> None:
    """It is counted; what it reported before stays."""
    broken = WebhookRefused(RefusalReason.MALFORMED)
    found = collect([_event("a"), _event("b", then=broken), _event("c")])
    assert ([each.source_id for each in found.reports], found.malformed) == (["a", "b", "c"], 1)
