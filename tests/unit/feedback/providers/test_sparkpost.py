"""SparkPost: classes of bounces, and events in several envelopes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.feedback.providers.events import meaning_of, reports_of


def bounce(bounce_class: Any, *, name: str = "bounce") -> list[dict[str, Any]]:
    """Return a bounce of a class."""
    return [{"msys": {"message_event": {"type": name, "event_id": "e-1", "bounce_class": bounce_class}}}]


@pytest.mark.parametrize(
    ("bounce_class", "meaning"),
    [
        ("10", "bounced hard"),
        (30, "bounced hard"),
        ("1", "bounced"),
        (None, "bounced"),
        ("22", "bounced soft"),
        ("51", "bounced soft"),
        ("60", ""),
        ("80", ""),
        ("90", "unsubscribed"),
        ("100", ""),
    ],
)
def test_a_bounce_is_judged_by_its_class(bounce_class: Any, meaning: str) -> None:
    """As a number or as text; replies and challenges are none."""
    assert meaning_of("sparkpost", bounce(bounce_class)) == meaning
    assert meaning_of("sparkpost", bounce(bounce_class, name="out_of_band")) == meaning


def test_what_is_in_no_envelope_of_an_email_reports_nothing() -> None:
    """Clicks, and the test that SparkPost sends when a webhook is made."""
    events = [{"msys": {}}, {"msys": {"track_event": {"type": "click", "event_id": "e-2"}}}]
    assert reports_of("sparkpost", events) == ()


def test_the_recipient_is_the_one_that_we_wrote() -> None:
    """SparkPost also gives it in lower case."""
    event = {"type": "delivery", "event_id": "e-1", "rcpt_to": "zoe@x.org", "raw_rcpt_to": "Zoe@x.org"}
    [report] = reports_of("sparkpost", [{"msys": {"message_event": event}}])
    assert report.recipient == "Zoe@x.org"
