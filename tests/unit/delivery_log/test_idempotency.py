"""Idempotency keys: how long they are remembered, and what they lead to."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.idempotency import IdempotencyKeys

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


def test_a_key_leads_to_its_email_and_back(log: Log) -> None:
    """While it is remembered."""
    email_id = log.add(idempotency_key="order-7")
    keys = IdempotencyKeys(log.engine)
    found = keys.find("order-7", now=log.now)
    assert found is not None
    assert found.email_id == email_id
    assert keys.find_by_email(email_id, now=log.now) == (found,)
    assert keys.find("order-7", now=log.now + timedelta(days=1)) is None


def test_an_expired_key_can_be_used_again(log: Log) -> None:
    """For another email, with other content."""
    first = log.add(idempotency_key="order-7")
    log.forward(24 * 3600)
    assert log.add("other@example.com", idempotency_key="order-7") != first
