"""Resend: signatures under two names, and where the id of an email may stand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mailctl.domain.provider_headers import ID_HEADER, ID_KEY
from tests import webhooks
from tests.unit.feedback.providers.events import meaning_of, reports_of


@pytest.mark.parametrize(
    ("event", "meaning"),
    [
        ({"type": "email.bounced", "data": {"bounce": {"type": "Permanent"}}}, "bounced hard"),
        ({"type": "email.bounced", "data": {"bounce": {"type": "Transient"}}}, "bounced soft"),
        ({"type": "email.bounced"}, "bounced"),
        ({"type": "email.suppressed"}, "bounced soft"),
        ({"type": "email.sent"}, ""),
        ({"type": "contact.created"}, ""),
    ],
)
def test_an_event_is_judged_by_its_type(event: dict[str, Any], meaning: str) -> None:
    """A bounce by the type that Amazon SES gives it, by which Resend sends."""
    assert meaning_of("resend", event) == meaning


def test_headers_have_the_name_of_the_standard_or_of_svix() -> None:
    """Both are in use."""
    request = webhooks.make_request("resend", {"type": "email.delivered"})
    signed = {name.partition("-")[2]: value for name, value in request.headers.items()}
    receiver = webhooks.make_provider("resend")
    found = [
        receiver.receive(replace(request, headers={f"{brand}-{name}": signed[name] for name in signed}))
        for brand in ("svix", "webhook")
    ]
    assert len(found[0].reports) == 1
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"headers": [{"name": ID_HEADER.upper(), "value": "email-1"}]}, "email-1"),
        ({"tags": {ID_KEY: "email-2"}}, "email-2"),
        ({"headers": [{"name": "X-Other", "value": "x"}], "tags": []}, None),
    ],
)
def test_the_email_is_named_by_a_header_or_a_tag(data: dict[str, Any], expected: str | None) -> None:
    """By SMTP and by the API."""
    [report] = reports_of("resend", {"type": "email.delivered", "data": data})
    assert report.email_id == expected
