"""SendGrid: what it drops, its keys, and several events in one request."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailctl.errors import ConfigurationError
from mailctl.feedback.providers.sendgrid import SendGrid
from mailctl.feedback.providers.webhook import WebhookRefused
from tests import webhooks
from tests.unit.feedback.providers.events import meaning_of, reports_of

EVENT = {"sg_event_id": "e-1", "email": "zoe@example.com"}


@pytest.mark.parametrize(
    ("event", "meaning"),
    [
        ({"event": "bounce", "type": "bounce"}, "bounced hard"),
        ({"event": "bounce", "type": "blocked"}, "bounced soft"),
        ({"event": "dropped", "reason": "Bounced Address"}, "bounced hard"),
        ({"event": "dropped", "reason": "Invalid"}, "bounced hard"),
        ({"event": "dropped", "reason": "Unsubscribed Address"}, "bounced soft"),
        ({"event": "dropped"}, "bounced soft"),
        ({"event": "processed"}, ""),
    ],
)
def test_an_event_is_judged_by_its_type_and_reason(event: dict[str, str], meaning: str) -> None:
    """Only an address that does not exist makes a bounce hard."""
    assert meaning_of("sendgrid", [EVENT | event]) == meaning


def test_an_event_without_an_id_is_malformed_and_spoils_no_other() -> None:
    """A request has up to a thousand."""
    events: list[Any] = [{"event": "delivered"}, EVENT | {"event": "delivered"}, "x"]
    parsed = webhooks.make_provider("sendgrid").receive(webhooks.make_request("sendgrid", events))
    assert (len(parsed.reports), parsed.malformed) == (1, 2)


def test_any_of_several_keys_may_have_signed() -> None:
    """While they are replaced."""
    der = ec.generate_private_key(ec.SECP256R1()).public_key()
    other = base64.b64encode(der.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    request = webhooks.make_request("sendgrid", [EVENT | {"event": "delivered"}])
    both = SendGrid([other, webhooks.secret_of("sendgrid")])
    assert len(both.receive(request).reports) == 1
    with pytest.raises(WebhookRefused):
        SendGrid([other]).receive(request)


@pytest.mark.parametrize("secret", ["", "x", base64.b64encode(b"no key").decode()])
def test_a_secret_that_is_no_key_is_an_error_of_ours(secret: str) -> None:
    """It says where SendGrid shows the key."""
    with pytest.raises(ConfigurationError) as refused:
        SendGrid([secret]).receive(webhooks.make_request("sendgrid", []))
    assert "SendGrid" in (refused.value.fix or "")


def test_the_status_says_more_than_the_reply() -> None:
    """SendGrid has a field for it."""
    event = EVENT | {"event": "deferred", "response": "450 4.0.0 later", "status": "4.2.2"}
    [report] = reports_of("sendgrid", [event])
    assert (report.smtp_code, report.enhanced_code) == (450, "4.2.2")
