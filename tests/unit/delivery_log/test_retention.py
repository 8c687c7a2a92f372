"""Retention: what is pruned, and in which order."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.retention import PrunableCounts, Retention
from mailctl.domain.states import State

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


def test_content_goes_before_the_email(log: Log) -> None:
    """Each at its own age; what is unfinished stays, however old it is."""
    old, older, unfinished = log.add(), log.add(), log.add()
    for email_id, days in ((old, 10), (older, 100)):
        log.change(email_id, state=State.FAILED, updated_at=log.now - timedelta(days=days))
    log.change(unfinished, updated_at=log.now - timedelta(days=1000))
    retention = Retention(log.engine, clock=log.time)
    limits = {
        "contents_before": log.now - timedelta(days=7),
        "emails_before": log.now - timedelta(days=90),
    }
    assert retention.count(**limits) == PrunableCounts(contents=2, emails=1, link_uses=0)
    assert list(retention.prune(**limits)) == [2, 1]
    assert log.outbox.content(old) is None
    assert {email.id for email in log.lookups.emails([old, older, unfinished])} == {old, unfinished}
    assert log.lookups.events(older) == []
    assert log.outbox.content(unfinished) is not None
