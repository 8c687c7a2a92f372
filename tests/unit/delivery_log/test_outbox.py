"""The outbox: what is recorded, and what may be published at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from mailctl.delivery_log.suppressions import Suppressions, SuppressionSource
from mailctl.domain.catalog import RESET
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import Content, User
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.errors import IdempotencyConflict
from tests.tokens import hs256

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

SOON = timedelta(minutes=5)
FAR = datetime(2999, 1, 1, tzinfo=UTC)


def test_a_message_that_is_no_email_is_recorded_once(log: Log) -> None:
    """As failed, without content."""
    draft = log.draft()
    for _ in range(2):
        log.outbox.record_failed_message(draft, reason="it has no address")
    [event] = log.lookups.events(draft.id)
    assert (log.email(draft.id).state, event.reason_code) == (State.FAILED, ReasonCode.INVALID_MESSAGE)
    assert log.outbox.content(draft.id) is None


def test_a_message_that_fails_validation_keeps_its_content(log: Log) -> None:
    """Beside the valid emails of the same message; `retry` needs it."""
    good, bad = log.draft(), log.draft()
    content = replace(bad.content, unvalidated={"user_data": 42})
    bad = replace(bad, content=content)
    log.outbox.record_from_message([good, bad], invalid={bad.id: "user_data is no object."})
    assert (log.email(good.id).state, log.email(bad.id).state) == (State.QUEUED, State.FAILED)
    assert log.outbox.content(bad.id) == content
    assert [event.reason_code for event in log.lookups.events(bad.id)] == [ReasonCode.INVALID_MESSAGE]


def test_a_message_of_another_program_is_on_the_broker(log: Log) -> None:
    """It is what carries the email; a scheduled one waits in the log."""
    now, later = log.draft(), log.draft(not_before=log.now + SOON)
    log.outbox.record_from_message([now])
    log.outbox.record_from_message([later])
    assert (log.email(now.id).state, log.email(later.id).state) == (State.QUEUED, State.PENDING)
    assert log.last_event(now.id).reason_code is ReasonCode.RECEIVED


@pytest.mark.parametrize(
    ("token", "is_told"), [("opaque-token", True), (hs256({"sub": "7"}, exp=FAR), False)]
)
def test_a_link_whose_end_is_unknown_is_told_with_the_message(log: Log, token: str, is_told: bool) -> None:
    """Its life counts from when the message was received: Celery's messages do not say how old they are."""
    url = f"https://shop.example/reset?t={token}"
    content = Content(user=User(email="zoe@example.com"), urls={"reset_url": url})
    [draft] = make_drafts(EmailRequest(kind=RESET), [content], queue="celery", now=log.now, first_id="m1")
    log.outbox.record_from_message([draft])
    told = log.last_event(draft.id).text
    assert ("its link counts as valid for 60 min from now" in told) is is_told
    assert log.email(draft.id).expires_at == log.now + RESET.links[0].lifetime


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


def test_in_a_transaction_of_the_caller_nothing_is_publishable_yet(log: Log) -> None:
    """The log is asked when it has ended, and not before."""
    statements: list[str] = []
    event.listen(log.engine, "before_cursor_execute", lambda *values: statements.append(values[2]))
    with log.engine.begin() as connection:
        recorded = log.outbox.add_in_transaction(connection, [log.draft()], due_at=log.now)
    assert (log.email(recorded.id).state, recorded.publishable) == (State.PENDING, ())
    assert not any("mailctl_pauses" in statement for statement in statements)


def test_calls_that_come_together_share_a_transaction(log: Log) -> None:
    """Each has the result that it would have alone: repeated, suppressed and forced ones too."""
    listed = {"no@example.com": "wrong"}
    Suppressions(log.engine).add(listed, source=SuppressionSource.OPERATOR, actor="ada")
    first = log.add(idempotency_key="k")
    given = [
        log.draft("a@example.com"),
        log.draft(idempotency_key="k"),
        log.draft("no@example.com"),
        log.draft("no@example.com", forced_by="ada"),
    ]
    outbox, commits = log.outbox_with(), []
    event.listen(log.engine, "commit", commits.append)
    with log.called_together(
        outbox._transactions[True], lambda: outbox.add([log.draft()], due_at=log.now)
    ) as submit:
        calls = [submit(outbox.add, [draft], due_at=log.now) for draft in given]
    plain, repeated, suppressed, forced = (call.result(60) for call in calls)
    assert len(commits) == len({"the first", "the others"})
    assert [plain.publishable, forced.publishable] == [(given[0],), (given[3],)]
    assert (repeated.id, repeated.publishable, suppressed.publishable) == (first, (), ())
    states = [log.email(each.id).state for each in (plain, suppressed, forced)]
    assert states == [State.PENDING, State.SUPPRESSED, State.PENDING]
    assert log.lookups.events(forced.id)[0].reason_code is ReasonCode.FORCED
