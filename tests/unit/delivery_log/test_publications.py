"""Publications: which emails a relay gets, and what is recorded about their messages."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.due import GroupableEmails
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.settings import GROUPS_QUEUE
from tests.emails import NOW

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

SOON = timedelta(minutes=5)
GROUPABLE = GroupableEmails(queues=frozenset({"celery"}), own_task_kinds=frozenset({"verification"}))


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


def test_a_group_has_security_emails_first_and_then_the_oldest(log: Log) -> None:
    """Those that were left out stay due; a process finds them in the same order."""
    first, second, reset = log.add(), log.add(), log.add()
    for seconds, email_id in enumerate((first, second, reset)):
        log.change(email_id, due_at=log.now + timedelta(seconds=seconds))
    log.change(reset, kind="reset")
    log.forward(5)
    assert log.publications.count_due(GROUPABLE, limit=2) == 2
    assert log.publications.find_due(GROUPABLE, limit=5) == [reset, first, second]
    assert log.publications.find_due(GROUPABLE, limit=1) == [reset]
    assert log.publications.take_group(GROUPABLE, limit=2) == [reset, first]
    assert log.publications.take_group(GROUPABLE, limit=2) == [second]
    found = log.email(reset)
    assert (found.state, found.is_grouped, found.message_queue) == (State.QUEUED, True, GROUPS_QUEUE)
    assert log.publications.count_due(GROUPABLE, limit=2) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"queue": "billing"},
        {"is_own_task": True},
        {"kind": "canary"},
        {"kind": "verification"},
        {"campaign": "spring"},
        {"due_at": NOW + SOON},
    ],
)
def test_what_may_not_travel_in_a_group_is_left_out(log: Log, change: dict[str, Any]) -> None:
    """Other queues, tasks of the service, canaries, campaigns, and what is not due; they are no backlog."""
    log.change(log.add(), **change)
    assert log.publications.find_due(GROUPABLE, limit=5) == []
    assert log.publications.take_group(GROUPABLE, limit=5) == []
    assert log.publications.count_due(GROUPABLE, limit=5) == 0


def test_an_email_that_was_in_a_group_is_published_alone(log: Log) -> None:
    """Its message is in its own queue then."""
    email_id = log.add()
    [taken] = log.publications.take_group(GROUPABLE, limit=1)
    log.claims.return_unstarted([taken], reason="other emails go first")
    assert log.publications.mark_queued([email_id]) == 1
    assert log.email(email_id).message_queue == "celery"


def test_an_email_that_is_left_to_relays_is_due_at_once(log: Log) -> None:
    """One that is scheduled is not."""
    new, scheduled = log.add(), log.add()
    for email_id in (new, scheduled):
        log.change(email_id, due_at=log.now + SOON)
    log.change(scheduled, not_before=log.now + SOON)
    log.publications.leave_to_relays([new, scheduled])
    assert [email.id for email in log.publications.reserve_due(limit=5)] == [new]


@pytest.mark.parametrize("change", [{"queue": "billing"}, {"is_own_task": True}, {"kind": "verification"}])
def test_emails_of_groups_keep_no_other_waiting(log: Log, change: dict[str, Any]) -> None:
    """One that travels alone is found, also in a queue whose other emails travel in groups."""
    log.add()
    alone = log.add()
    log.change(alone, **change)
    assert [email.id for email in log.publications.reserve_due(limit=5, besides=GROUPABLE)] == [alone]
