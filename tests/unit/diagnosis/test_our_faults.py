"""Causes of refusals that concern every email."""

from __future__ import annotations

import pytest

from mailctl.diagnosis.our_faults import find_our_fault
from mailctl.domain.outcomes import ReplyCategory


@pytest.mark.parametrize(
    ("category", "name"),
    [
        (ReplyCategory.SENDER, "sender_refused"),
        (ReplyCategory.CREDENTIALS, "smtp_auth"),
        (ReplyCategory.ENCRYPTION, "smtp_tls"),
        (ReplyCategory.RELAY, "relay_denied"),
        (ReplyCategory.QUOTA, "quota_used_up"),
    ],
)
def test_a_refusal_of_us_has_a_cause_of_its_own(category: ReplyCategory, name: str) -> None:
    """The next step is the check of the configuration."""
    cause = find_our_fault(category)
    assert cause is not None
    assert (cause.name, str(cause.next_step)) == (name, "mailctl check-config")


@pytest.mark.parametrize("category", [None, ReplyCategory.DEAD_MAILBOX, ReplyCategory.CONTENT])
def test_a_refusal_of_one_email_has_none(category: ReplyCategory | None) -> None:
    """Others may be accepted."""
    assert find_our_fault(category) is None
