"""Refusals in a real log: the suppression list, `retry` and `why` agree about which mailboxes are dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.domain.outcomes import OutcomeKind
from mailctl.smtp.classify import classify_reply
from tests.integration.commands import fail, welcome

if TYPE_CHECKING:
    from tests.integration.commands import Mailctl

REPLIES = (
    "550 no",
    "551 no",
    "553 no",
    "554 no",
    # 5.1.7 and 5.1.8 are about the sender.
    *(f"550 5.1.{detail} no" for detail in range(11) if detail not in (7, 8)),
    *(f"550 5.2.{detail} no" for detail in range(5)),
    "550 5.4.1 no",
    "550 5.4.4 no",
    "550 5.7.1 no",
)


@pytest.mark.parametrize("stage", ["rcpt", "body"])
def test_what_is_suppressed_is_what_a_retry_leaves_out(mailctl: Mailctl, stage: str) -> None:
    """Each reply gets one answer, from the worker that records it to the operator who retries it."""
    replies = {}
    for number, reply in enumerate(REPLIES):
        outcome = classify_reply(int(reply[:3]), reply[4:], stage=stage)
        assert outcome.kind is OutcomeKind.REFUSED
        email_id = welcome(mailctl, f"user{number}@example.com")
        fail(email_id, outcome)
        replies[email_id] = reply
    plan = mailctl("retry", "--state", "failed", "--dry-run", "--json").lines
    hazards = {replies[line["task_id"]]: line["hazards"] for line in plan}
    assert {*map(tuple, hazards.values())} == {(), ("permanent", "suppressed")}
    assert hazards["550 5.1.1 no"]
    assert hazards["550 5.4.1 no"]
    assert not any(hazards[reply] for reply in ("550 no", "550 5.1.4 no", "550 5.1.9 no", "550 5.2.2 no"))
