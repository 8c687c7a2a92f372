"""The rows of new emails and their first events."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.new_rows import email_row, first_events
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from tests.emails import NOW
from tests.unit.delivery_log.conftest import KEYRING

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


def test_an_address_counts_in_any_spelling(log: Log) -> None:
    """Limits compare it in lower case."""
    row = email_row(log.draft("Zoe@Example.com"), KEYRING, due_at=NOW, now=NOW)
    assert (row["to_address"], row["state"]) == ("zoe@example.com", State.PENDING)


def test_a_scheduled_email_is_due_at_its_time(log: Log) -> None:
    """Not before, whenever a relay might publish it."""
    later = NOW + timedelta(hours=1)
    row = email_row(log.draft(not_before=later), KEYRING, due_at=NOW, now=NOW)
    assert row["due_at"] == row["not_before"] == later


def test_content_is_encrypted(log: Log) -> None:
    """The address is not in it as text."""
    row = email_row(log.draft("secret@example.com"), KEYRING, due_at=NOW, now=NOW)
    assert b"secret" not in row["content"]


def test_a_first_event_names_who_forced_the_email(log: Log) -> None:
    """Other emails have no reason there, and the columns are not even written."""
    [plain] = first_events([log.draft()], now=NOW)
    [forced] = first_events([log.draft(forced_by="ada")], now=NOW)
    assert "reason_code" not in plain
    assert (forced["reason_code"], forced["actor"]) == (ReasonCode.FORCED, "ada")
    assert first_events([], now=NOW) == []
