"""Publications: which emails a relay gets, and what is recorded about their messages."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.models import State
from mailctl.domain.reason_codes import ReasonCode

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

SOON = timedelta(minutes=5)


@pytest.mark.parametrize(
    ("what", "state", "code"),
    [
        ("fail", State.FAILED, ReasonCode.UNPUBLISHABLE),
        ("suppress", State.SUPPRESSED, ReasonCode.NOT_ALLOWED),
    ],
)
def test_what_ends_before_a_worker_claims_it_has_a_code(
    log: Log, what: str, state: State, code: ReasonCode
) -> None:
    """And a text in the words of the caller."""
    email_id = log.add()
    getattr(log.publications, what)(email_id, reason="so it is")
    email = log.email(email_id)
    assert (email.state, email.reason_code, email.error) == (state, code, "so it is")


def test_a_failure_to_publish_is_no_end(log: Log) -> None:
    """A relay tries again later."""
    email_id = log.add()
    log.publications.postpone(email_id, until=log.now + SOON, reason="no key")
    email = log.email(email_id)
    assert (email.state, email.due_at) == (State.PENDING, log.now + SOON)
    assert email.reason_code is ReasonCode.PUBLISHING_FAILED


def test_a_reserved_email_is_not_given_to_another_relay(log: Log) -> None:
    """For some seconds."""
    email_id = log.add()
    assert [email.id for email in log.publications.reserve_due(limit=5)] == [email_id]
    assert log.publications.reserve_due(limit=5) == []
    log.forward(6)
    assert [email.id for email in log.publications.reserve_due(limit=5)] == [email_id]


def test_what_is_on_the_broker_is_known_with_its_worker(log: Log) -> None:
    """If the message is in a worker's memory; a deferred email that waits is not on the broker."""
    plain, in_memory, waiting = log.add(), log.add(), log.add()
    log.change(waiting, state=State.DEFERRED, not_before=log.now + SOON)
    assert log.publications.mark_queued([plain]) == 1
    assert log.publications.mark_queued([in_memory, waiting], worker_id="w1") == 1
    states = [log.email(each).state for each in (plain, in_memory, waiting)]
    assert states == [State.QUEUED, State.QUEUED, State.DEFERRED]
