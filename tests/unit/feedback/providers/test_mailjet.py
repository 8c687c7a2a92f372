"""Mailjet: bounces that are hard, soft, or tried again."""

from __future__ import annotations

from typing import Any

import pytest

from tests import webhooks
from tests.unit.feedback.providers.events import meaning_of, reports_of

EVENT: dict[str, Any] = {"MessageID": 19421777835146490, "time": 1772625600, "email": "zoe@example.com"}


@pytest.mark.parametrize(
    ("event", "meaning"),
    [
        ({"event": "bounce", "hard_bounce": True}, "bounced hard"),
        ({"event": "bounce", "hard_bounce": False}, "bounced soft"),
        ({"event": "bounce", "hard_bounce": False, "error": "greylisted"}, "delayed"),
        ({"event": "bounce"}, "bounced soft"),
        ({"event": "blocked"}, "bounced soft"),
        ({"event": "sent"}, "delivered"),
        ({"event": "open"}, ""),
    ],
)
def test_a_bounce_is_judged_by_what_mailjet_says(event: dict[str, Any], meaning: str) -> None:
    """A server that greylists is tried again."""
    assert meaning_of("mailjet", EVENT | event) == meaning


def test_the_words_of_the_server_come_before_those_of_mailjet() -> None:
    """They have the codes."""
    event = EVENT | {"event": "bounce", "smtp_reply": "550 5.1.1 no", "comment": "user unknown"}
    [report] = reports_of("mailjet", event)
    assert (report.diagnostic, report.smtp_code, report.enhanced_code) == ("550 5.1.1 no", 550, "5.1.1")


@pytest.mark.parametrize("missing", ["MessageID", "time"])
def test_an_event_without_what_identifies_it_is_malformed(missing: str) -> None:
    """A repetition could not be told from another event."""
    event = {"event": "sent"} | {name: value for name, value in EVENT.items() if name != missing}
    parsed = webhooks.make_provider("mailjet").receive(webhooks.make_request("mailjet", event))
    assert (parsed.reports, parsed.malformed) == ((), 1)
