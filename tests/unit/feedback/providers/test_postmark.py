"""Postmark: types of bounces, and subscriptions that recipients change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.feedback.providers.events import meaning_of, reports_of

BOUNCE = {"RecordType": "Bounce", "MessageID": "m-1", "Email": "zoe@example.com"}
CHANGE = {"RecordType": "SubscriptionChange", "MessageID": "m-1", "Recipient": "zoe@example.com"}


@pytest.mark.parametrize(
    ("event", "meaning"),
    [
        (BOUNCE | {"Type": "HardBounce"}, "bounced hard"),
        (BOUNCE | {"Type": "BadEmailAddress"}, "bounced hard"),
        (BOUNCE | {"Type": "DnsError"}, "bounced soft"),
        (BOUNCE | {"Type": "Transient"}, "delayed"),
        (BOUNCE | {"Type": "AutoResponder"}, ""),
        (BOUNCE | {"RecordType": "SpamComplaint"}, "complained"),
        (BOUNCE | {"RecordType": "Open"}, ""),
    ],
)
def test_a_bounce_is_judged_by_its_type(event: dict[str, str], meaning: str) -> None:
    """Automatic replies come as bounces too."""
    assert meaning_of("postmark", event) == meaning


@pytest.mark.parametrize(
    ("changes", "meaning"),
    [
        ({"SuppressSending": True, "Origin": "Recipient"}, "unsubscribed"),
        ({"SuppressSending": False, "Origin": "Recipient"}, ""),
        ({"SuppressSending": True, "Origin": "Customer"}, ""),
        ({"SuppressSending": True, "Origin": "Recipient", "SuppressionReason": "HardBounce"}, ""),
    ],
)
def test_only_recipients_unsubscribe(changes: dict[str, Any], meaning: str) -> None:
    """A bounce and a complaint have events of their own; what we suppress ourselves is no news."""
    event = CHANGE | {"SuppressionReason": "ManualSuppression"} | changes
    assert meaning_of("postmark", event) == meaning


@pytest.mark.parametrize("nothing", [{}, {"ID": None}, {"ID": ""}])
def test_events_without_an_id_are_told_apart_by_what_they_say(nothing: dict[str, Any]) -> None:
    """Two emails are no repetition of each other."""
    ids = {
        reports_of("postmark", {"RecordType": "Delivery", "MessageID": name} | nothing)[0].source_id
        for name in ("m-1", "m-2")
    }
    assert len(ids) == 2


def test_the_id_of_a_bounce_is_the_one_that_postmark_gives() -> None:
    """A number in JSON."""
    event: dict[str, Any] = BOUNCE | {"Type": "HardBounce", "ID": 4323372036854775807}
    [report] = reports_of("postmark", event)
    assert report.source_id == "4323372036854775807"
