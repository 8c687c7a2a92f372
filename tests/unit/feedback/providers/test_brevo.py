"""Brevo: times of which one alone is known, and the id of an email in a text of JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mailctl.domain.provider_headers import ID_KEY
from tests import webhooks
from tests.unit.feedback.providers.events import meaning_of, reports_of

EVENT: dict[str, Any] = {"event": "delivered", "message-id": "<m-1@x.org>", "email": "zoe@example.com"}


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("invalid_email", "bounced hard"),
        ("blocked", "bounced soft"),
        ("error", "bounced soft"),
        ("complaint", "complained"),
        ("unsubscribed", "unsubscribed"),
        ("request", ""),
        ("opened", ""),
    ],
)
def test_an_event_is_judged_by_its_name(name: str, meaning: str) -> None:
    """Names of its older and newer webhooks."""
    assert meaning_of("brevo", EVENT | {"event": name}) == meaning


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"ts_epoch": 1772625600500}, datetime(2026, 3, 4, 12, 0, 0, 500_000, tzinfo=UTC)),
        ({"ts_epoch": 10**15}, None),
        ({"ts_event": 1772625600, "date": "2026-03-04 13:00:00"}, None),
    ],
)
def test_the_time_is_the_one_in_utc(times: dict[str, Any], expected: datetime | None) -> None:
    """The others are in the time zone of the account, which nobody knows here."""
    assert reports_of("brevo", EVENT | times)[0].at == expected


@pytest.mark.parametrize(
    ("custom", "expected"), [(f'{{"{ID_KEY}": "email-1"}}', "email-1"), ("x", None), (7, None)]
)
def test_the_email_is_named_by_the_header_that_brevo_returns(custom: Any, expected: str | None) -> None:
    """In JSON, if we wrote it."""
    assert reports_of("brevo", EVENT | {"X-Mailin-custom": custom})[0].email_id == expected


def test_an_event_without_a_message_is_malformed() -> None:
    """Nothing would tell it from another one."""
    request = webhooks.make_request("brevo", [{"event": "delivered"}, EVENT])
    parsed = webhooks.make_provider("brevo").receive(request)
    assert (len(parsed.reports), parsed.malformed) == (1, 1)
