"""How requests to webhooks are answered."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request

from mailctl.errors import LogMissing, LogUnavailable, MailctlError
from mailctl.feedback.providers.webhook import RefusalReason, WebhookRefused, WebhookRequest
from mailctl.web import webhooks
from tests.webhooks import make_provider

if TYPE_CHECKING:
    from starlette.types import Message


@pytest.mark.parametrize(
    ("provider", "reason", "status"),
    [
        ("postmark", RefusalReason.FORGED, 401),
        ("mailgun", RefusalReason.FORGED, 403),
        ("postmark", RefusalReason.NOT_ENCRYPTED, 403),
        ("resend", RefusalReason.STALE, 403),
        ("brevo", RefusalReason.OVERSIZED, 413),
        ("ses", RefusalReason.MALFORMED, 400),
    ],
)
def test_a_refusal_says_what_is_wrong(provider: str, reason: RefusalReason, status: int) -> None:
    """Where a secret is missing, it asks for one: some providers send theirs only then."""
    response = webhooks._refusal_response(make_provider(provider), WebhookRefused(reason))
    assert response.status_code == status
    assert ("www-authenticate" in response.headers) is (status == 401)


@pytest.mark.parametrize("reason", RefusalReason)
def test_every_refusal_is_counted_as_something(reason: RefusalReason) -> None:
    """It stands in the delivery log and in the metrics."""
    assert reason in webhooks._RESULTS


@pytest.mark.parametrize("error", [LogUnavailable("db.internal:5432 is down."), LogMissing("/srv/secret.db")])
def test_while_the_log_is_down_a_provider_tries_again(error: MailctlError) -> None:
    """And learns nothing of this host."""
    response = webhooks._unavailable_response(error)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "60"
    assert str(error).split()[0] not in bytes(response.body).decode()


def _request(*chunks: bytes) -> Request:
    waiting = list(chunks)

    async def receive() -> Message:
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def test_a_body_is_read_as_far_as_a_provider_sends() -> None:
    """What is longer is not even read."""
    assert asyncio.run(webhooks._read_body(_request(b"ab", b"c"), longest=3)) == b"abc"
    with pytest.raises(WebhookRefused) as refused:
        asyncio.run(webhooks._read_body(_request(b"ab", b"cd", b"never read"), longest=3))
    assert refused.value.reason is RefusalReason.OVERSIZED


class _Unreadable:
    """A provider whose requests fail in a way that nobody has thought of."""

    name = "postmark"
    uses_network = False

    def receive(self, _: WebhookRequest) -> Any:
        """Fail."""
        raise RuntimeError("ada@example.com")


def test_an_unexpected_failure_is_a_malformed_request(caplog: pytest.LogCaptureFixture) -> None:
    """It would fail each time that the provider repeats it: a 5xx would have it repeated for days."""
    request = WebhookRequest(headers={}, body=b"{}", is_encrypted=True, received_at=datetime.now(UTC))
    of_process: Any = None
    receiver: Any = _Unreadable()
    with pytest.raises(WebhookRefused) as caught:
        asyncio.run(webhooks._record(of_process, receiver, request))
    assert caught.value.reason is RefusalReason.MALFORMED
    assert caplog.messages == ["a request from postmark could not be read: RuntimeError"]
