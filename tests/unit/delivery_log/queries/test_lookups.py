"""Lookups: ids, their prefixes, and the emails of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.queries.lookups import Backlog
from mailctl.domain.states import State
from tests.unit.delivery_log.conftest import LATER

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("abc", ["abc"]),
        (" ABCD ", ["abcdef1234", "abcdef1299"]),
        ("abcdef123", ["abcdef1234"]),
        ("a%", []),
        ("zzz", []),
    ],
)
def test_an_email_is_found_by_the_start_of_its_id(log: Log, prefix: str, expected: list[str]) -> None:
    """An exact id wins; spaces and capitals do not matter; `%` is no wildcard."""
    for email_id in ("abc", "abcdef1234", "abcdef1299"):
        log.add(first_id=email_id)
    assert [email.id for email in log.lookups.find(prefix)] == expected


def test_a_short_id_is_long_enough_to_be_unique(log: Log) -> None:
    """Eight characters at least; an unknown id is not shortened."""
    for email_id in ("abcdef1234567", "abcdef1299999", "zyxwvutsrqponm"):
        log.add(first_id=email_id)
    short = log.lookups.short_ids(["abcdef1234567", "zyxwvutsrqponm", "unknown-elsewhere"])
    assert short == {
        "abcdef1234567": "abcdef123",
        "zyxwvutsrqponm": "zyxwvuts",
        "unknown-elsewhere": "unknown-elsewhere",
    }


def test_the_backlog_has_what_workers_can_do(log: Log) -> None:
    """Now or later; what has ended is no part of it."""
    log.add()
    log.defer(log.claim(log.queue()), LATER, seconds=600)
    log.change(log.add(), state=State.SENT)
    assert log.lookups.backlog(now=log.now) == Backlog(ready=1, waiting=1)


def test_events_have_their_reasons(log: Log) -> None:
    """Codes and stages, oldest event first."""
    email_id = log.queue()
    log.defer(log.claim(email_id), LATER)
    states = [event.state for event in log.lookups.events(email_id)]
    assert states == [State.PENDING, State.QUEUED, State.SENDING, State.DEFERRED]
    assert log.last_event(email_id).stage == "mail"


def test_an_email_is_found_by_what_others_call_it(log: Log) -> None:
    """Its Message-ID with or without brackets, the mail server's queue id, its address in any case."""
    email_id, other = log.add("Zoe@Example.com"), log.add("max@example.com")
    log.change(email_id, message_id="<m1@shop.example>", smtp_text="Ok: queued as 4XyZ12 (by mx)")
    log.change(other, smtp_text="Ok: queued as 4XyZ123")
    for name in ("<m1@shop.example>", "m1@shop.example", "4XyZ12", "zoe@example.com", " ZOE@EXAMPLE.COM "):
        assert [each.id for each in log.lookups.find_by_reference(name)] == [email_id], name
    for name in ("", "m1", "queue", "4XyZ", "%", "zoe"):
        assert log.lookups.find_by_reference(name) == [], name


def test_the_emails_to_an_address_are_newest_first(log: Log) -> None:
    """And are counted beyond the limit."""
    ids = [log.add() for _ in range(3)]
    found = log.lookups.find_by_reference("zoe@example.com", limit=2)
    assert [each.id for each in found] == ids[:0:-1]
    assert log.lookups.count_to("ZOE@example.com") == 3
