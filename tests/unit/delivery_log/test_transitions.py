"""Changes of state: which emails may change, and what their events say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import circuits, emails
from mailctl.delivery_log.transitions import append_events, change_state, insert_or_ignore, reason_values
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import State

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tests.unit.delivery_log.conftest import Log


def test_only_emails_that_may_change_do(log: Log) -> None:
    """A sent email stays sent, whatever the condition matches."""
    one, other = log.add(), log.add()
    log.change(other, state=State.SENT)
    with writing(log.engine) as connection:
        changed = change_state(
            connection, emails.c.id.in_([one, other]), State.HELD, text="held", values={}, now=log.now
        )
    assert [row.id for row in changed] == [one]
    assert (log.email(one).state, log.email(other).state) == (State.HELD, State.SENT)


def test_an_event_repeats_the_email_and_adds_the_reason(log: Log) -> None:
    """With the operator, the code and the stage."""
    email_id = log.add()
    with writing(log.engine) as connection:
        change_state(
            connection,
            emails.c.id == email_id,
            State.FAILED,
            text="no",
            values={"attempts": 3, "worker": "w", "smtp_code": 550},
            now=log.now,
            code=ReasonCode.REFUSED,
            stage="rcpt",
            actor="ada",
        )
    event = log.last_event(email_id)
    assert (event.attempt, event.worker, event.code, event.actor) == (3, "w", 550, "ada")
    assert (event.reason_code, event.stage) == (ReasonCode.REFUSED, "rcpt")


def test_ordinary_progress_has_no_reason(log: Log) -> None:
    """Neither in the email nor in its events."""
    email_id = log.queue()
    assert log.email(email_id).reason_code is None
    assert [event.reason_code for event in log.lookups.events(email_id)] == [None, None]


def test_a_new_attempt_has_no_reply_yet(log: Log) -> None:
    """The code on the row is that of the attempt before."""
    email_id = log.queue()
    log.change(email_id, smtp_code=451)
    log.claim(email_id)
    assert log.last_event(email_id).code is None


def test_appended_events_have_the_present_state(log: Log) -> None:
    """And the reason of their own."""
    email_id = log.queue()
    with writing(log.engine) as connection:
        append_events(connection, [email_id], text="so", now=log.now, code=ReasonCode.RECEIVED)
    event = log.last_event(email_id)
    assert (event.state, event.text, event.reason_code) == (State.QUEUED, "so", ReasonCode.RECEIVED)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (None, {"error": None, "reason_code": None}),
        (
            Reason(code=ReasonCode.EXPIRED, text="late"),
            {"error": "late", "reason_code": ReasonCode.EXPIRED},
        ),
    ],
)
def test_text_and_code_are_set_together(reason: Reason | None, expected: dict[str, object]) -> None:
    """An email has both, or neither."""
    assert reason_values(reason) == expected


def test_a_row_is_inserted_once(engine: Engine, log: Log) -> None:
    """The second time nothing changes."""
    row = {
        "server": "a:25",
        "failures": 1,
        "probes": 0,
        "reason": "no",
        "since": log.now,
        "probe_at": log.now,
    }
    with writing(engine) as connection:
        assert insert_or_ignore(connection, circuits, row)
        assert not insert_or_ignore(connection, circuits, row | {"failures": 9})
