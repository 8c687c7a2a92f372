"""Mailgun: what a failure means, and that a token counts once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mailctl.feedback.providers.webhook import RefusalReason, WebhookRefused
from tests import webhooks
from tests.unit.feedback.providers.events import meaning_of


@pytest.mark.parametrize(
    ("event", "meaning"),
    [
        ({"event": "failed", "severity": "temporary", "reason": "suppress-bounce"}, "delayed"),
        ({"event": "failed", "severity": "permanent", "reason": "suppress-bounce"}, "bounced hard"),
        ({"event": "failed", "severity": "permanent", "reason": "suppress-complaint"}, "bounced soft"),
        ({"event": "failed", "severity": "permanent", "reason": "generic"}, "bounced"),
        ({"event": "failed"}, "bounced"),
        ({"event": "rejected"}, "bounced soft"),
        ({"event": "accepted"}, ""),
    ],
)
def test_a_failure_is_judged_by_its_severity_and_its_reason(event: dict[str, str], meaning: str) -> None:
    """Mailgun calls everything permanent that it gives up; otherwise the code of the reply decides."""
    assert meaning_of("mailgun", event) == meaning


def test_the_event_of_a_token_that_was_used_counts_as_a_repetition() -> None:
    """The signature covers the token alone: somebody who has seen one could put any event beside it."""
    receiver = webhooks.make_provider("mailgun")
    ids = {
        receiver.receive(webhooks.make_request("mailgun", {"event": name}, id="token-1")).reports[0].source_id
        for name in ("delivered", "complained")
    }
    assert ids == {"token-1"}


def test_a_signature_is_refused_when_mailgun_retries_no_more() -> None:
    """After eight hours."""
    request = webhooks.make_request("mailgun", {"event": "delivered"})
    late = replace(request, received_at=webhooks.NOW + timedelta(hours=9))
    with pytest.raises(WebhookRefused) as refused:
        webhooks.make_provider("mailgun").receive(late)
    assert refused.value.reason is RefusalReason.STALE


def test_no_token_is_no_proof() -> None:
    """Although an empty one can be signed."""
    request = webhooks.make_request("mailgun", {"event": "delivered"}, id="")
    with pytest.raises(WebhookRefused) as refused:
        webhooks.make_provider("mailgun").receive(request)
    assert refused.value.reason is RefusalReason.FORGED
