"""The outbox: what is recorded, published, postponed and released."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.models import State
from mailctl.domain.reason_codes import ReasonCode
from mailctl.errors import IdempotencyConflict
from tests.unit.delivery_log.conftest import LATER

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

SOON = timedelta(minutes=5)


def test_an_outage_is_known_by_its_code(log: Log) -> None:
    """What only reads like one waits on; what waits for the server is due again."""
    kept, other = log.queue(), log.queue()
    assert log.outbox.postpone_for_outage(kept, until=log.now + SOON, reason="it is down")
    log.outbox.postpone_for_outage(other, until=log.now + SOON, reason="it is down")
    log.change(other, error="postponed: it is down", reason_code=ReasonCode.PUBLISHING_FAILED)
    assert log.outbox.release_after_outage() == 1
    assert (log.email(kept).error, log.email(kept).reason_code) == (None, None)
    assert log.email(other).not_before == log.now + SOON


def test_what_a_worker_postpones_before_it_is_marked_stays_postponed(log: Log) -> None:
    """Its message was faster than the statement that says that it was published."""
    email_id = log.add()
    assert log.outbox.postpone_for_outage(email_id, until=log.now + SOON, reason="it is down")
    assert log.outbox.mark_queued([email_id]) == 0
    email, event = log.email(email_id), log.last_event(email_id)
    assert (email.state, email.not_before) == (State.PENDING, log.now + SOON)
    assert event.reason_code is ReasonCode.MAIL_SERVER_DOWN


def test_a_deferred_email_that_waits_is_not_postponed(log: Log) -> None:
    """It is not about to be sent."""
    email_id = log.queue()
    log.defer(log.claim(email_id), LATER)
    assert not log.outbox.postpone_for_outage(email_id, until=log.now, reason="it is down")


@pytest.mark.parametrize(
    ("what", "state", "code"),
    [
        ("fail_unpublishable", State.FAILED, ReasonCode.UNPUBLISHABLE),
        ("suppress", State.SUPPRESSED, ReasonCode.NOT_ALLOWED),
    ],
)
def test_what_ends_before_a_worker_claims_it_has_a_code(
    log: Log, what: str, state: State, code: ReasonCode
) -> None:
    """And a text in the words of the caller."""
    email_id = log.add()
    getattr(log.outbox, what)(email_id, reason="so it is")
    email = log.email(email_id)
    assert (email.state, email.reason_code, email.error) == (state, code, "so it is")


def test_a_failure_to_publish_is_no_end(log: Log) -> None:
    """A relay tries again later."""
    email_id = log.add()
    log.outbox.postpone_publishing(email_id, until=log.now + SOON, reason="no key")
    email = log.email(email_id)
    assert (email.state, email.due_at) == (State.PENDING, log.now + SOON)
    assert email.reason_code is ReasonCode.PUBLISHING_FAILED


def test_a_reserved_email_is_not_given_to_another_relay(log: Log) -> None:
    """For some seconds."""
    email_id = log.add()
    assert [email.id for email in log.outbox.reserve_due(limit=5)] == [email_id]
    assert log.outbox.reserve_due(limit=5) == []
    log.forward(6)
    assert [email.id for email in log.outbox.reserve_due(limit=5)] == [email_id]


def test_a_message_that_is_no_email_is_recorded_once(log: Log) -> None:
    """As failed, without content."""
    draft = log.draft()
    for _ in range(2):
        log.outbox.record_failed_message(draft, reason="it has no address")
    [event] = log.lookups.events(draft.id)
    assert (log.email(draft.id).state, event.reason_code) == (State.FAILED, ReasonCode.INVALID_MESSAGE)
    assert log.outbox.content(draft.id) is None


def test_a_message_of_another_program_is_on_the_broker(log: Log) -> None:
    """It is what carries the email; a scheduled one waits in the log."""
    now, later = log.draft(), log.draft(not_before=log.now + SOON)
    log.outbox.record_from_message([now])
    log.outbox.record_from_message([later])
    assert (log.email(now.id).state, log.email(later.id).state) == (State.QUEUED, State.PENDING)
    assert log.last_event(now.id).reason_code is ReasonCode.RECEIVED


def test_a_repeated_call_returns_the_first_email(log: Log) -> None:
    """With the same content; other content is refused."""
    first = log.add(idempotency_key="k")
    assert log.add(idempotency_key="k") == first
    with pytest.raises(IdempotencyConflict):
        log.add("other@example.com", idempotency_key="k")


def test_a_scheduled_email_is_not_published_at_once(log: Log) -> None:
    """Others are, if no rule can delay them."""
    assert log.outbox.add([log.draft()], due_at=log.now).publishable
    assert not log.outbox.add([log.draft(not_before=log.now + SOON)], due_at=log.now).publishable
