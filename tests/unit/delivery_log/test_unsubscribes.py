"""Unsubscribes: respected when emails are recorded and when they are claimed, never for security emails."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.feedback_reports import FeedbackReports
from mailctl.delivery_log.reports import Report
from mailctl.delivery_log.unsubscribes import Unsubscribes
from mailctl.domain.catalog import RESET, WELCOME, Kind
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

ADDRESS = "zoe@example.com"
NEWSLETTER = Kind(
    name="newsletter", subject="News", template="news", lifetime=timedelta(days=2), can_unsubscribe=True
)


def record(log: Log, kind: Kind, address: str = ADDRESS, **more: Any) -> str:
    """Record an email of a kind, and return its id."""
    draft = log.draft(address, **more)
    draft = replace(draft, request=replace(draft.request, kind=kind))
    return log.outbox.add([draft], due_at=log.now).id


@pytest.fixture
def unsubscribes(log: Log) -> Unsubscribes:
    """The unsubscribes of the log."""
    return Unsubscribes(log.engine, clock=log.time)


def test_an_email_of_the_kind_is_suppressed_when_it_is_recorded(log: Log, unsubscribes: Unsubscribes) -> None:
    """In any spelling of the address; the reason names the kind, and has a code of its own."""
    assert unsubscribes.add("Zoe@Example.com", kind="newsletter")
    assert not unsubscribes.add(ADDRESS, kind="newsletter")

    found = log.email(record(log, NEWSLETTER, "ZOE@example.com"))

    assert (found.state, found.reason_code) == (State.SUPPRESSED, ReasonCode.UNSUBSCRIBED)
    assert found.error == "its recipient unsubscribed from emails of kind newsletter on 2026-03-01"


@pytest.mark.parametrize(
    ("kind", "address", "more"),
    [
        (WELCOME, ADDRESS, {}),
        (RESET, ADDRESS, {}),
        (RESET, ADDRESS, {"campaign": "all"}),
        (NEWSLETTER, "ada@example.com", {}),
        (NEWSLETTER, ADDRESS, {"forced_by": "ada"}),
    ],
)
def test_nothing_else_is_suppressed(
    log: Log, unsubscribes: Unsubscribes, kind: Kind, address: str, more: dict[str, Any]
) -> None:
    """Not another address, not single emails of a kind that is no list, and security emails never."""
    for name in ("newsletter", "welcome", "reset"):
        unsubscribes.add(ADDRESS, kind=name)

    email_id = record(log, kind, address, **more)

    assert log.email(email_id).state is State.PENDING
    assert [claim.id for claim in log.claims.claim([email_id], worker="w").claims] == [email_id]


def test_campaigns_of_a_kind_are_one_list(log: Log, unsubscribes: Unsubscribes) -> None:
    """Whoever unsubscribes from one campaign gets no other of its kind, and all single emails of it."""
    unsubscribes.add(ADDRESS, kind="welcome")

    campaign, single = record(log, WELCOME, campaign="spring"), record(log, WELCOME)

    assert (log.email(campaign).state, log.email(single).state) == (State.SUPPRESSED, State.PENDING)


def test_an_email_that_waits_is_suppressed_when_it_is_claimed(log: Log, unsubscribes: Unsubscribes) -> None:
    """The recipient unsubscribes between recording and sending: no worker gets the email."""
    waiting, other = record(log, NEWSLETTER), record(log, WELCOME)
    unsubscribes.add(ADDRESS, kind="newsletter")

    claimed = log.claims.claim([waiting, other], worker="w")

    assert [claim.id for claim in claimed.claims] == [other]
    assert waiting in claimed.suppressed
    assert log.email(waiting).reason_code is ReasonCode.UNSUBSCRIBED
    assert log.last_event(waiting).worker == "w"


def test_a_claim_says_whether_its_recipient_may_unsubscribe(log: Log) -> None:
    """The composer needs to know; campaigns may be unsubscribed from without a word in their kind."""
    ids = [record(log, NEWSLETTER), record(log, WELCOME, campaign="x"), record(log, WELCOME)]

    claims = {claim.id: claim.can_unsubscribe for claim in log.claims.claim(ids, worker="w").claims}

    assert [claims[each] for each in ids] == [True, True, False]


@pytest.mark.parametrize(
    ("kind", "is_proven", "recipient", "is_unsubscribed"),
    [
        (NEWSLETTER, True, ADDRESS, True),
        (NEWSLETTER, True, None, True),
        (NEWSLETTER, False, ADDRESS, False),
        (NEWSLETTER, True, "other@example.com", False),
        (RESET, True, ADDRESS, False),
    ],
)
def test_what_a_provider_reports_is_a_wish_of_the_recipient(
    log: Log,
    unsubscribes: Unsubscribes,
    kind: Kind,
    is_proven: bool,
    recipient: str | None,
    is_unsubscribed: bool,
) -> None:
    """A proven report about the recipient of an email that can be unsubscribed from; nothing else."""
    email_id = record(log, kind)
    log.change(email_id, state=State.SENT)
    report = Report(
        source="sendgrid",
        source_id="1",
        kind="unsubscribed",
        is_proven=is_proven,
        summary="",
        email_id=email_id,
        recipient=recipient,
    )

    FeedbackReports(log.engine, clock=log.time).record([report])

    assert (unsubscribes.find(ADDRESS, kind=kind.name) is not None) == is_unsubscribed


def test_the_list_has_pages(unsubscribes: Unsubscribes) -> None:
    """In the order of addresses and kinds, each once; a removed one is sent to again."""
    for address in ("b@example.com", "a@example.com"):
        for kind in ("y", "x"):
            unsubscribes.add(address, kind=kind)

    first = unsubscribes.page(limit=3)
    second = unsubscribes.page(limit=3, after=first.cursor)

    listed = [(each.address[0], each.kind) for each in (*first.entries, *second.entries)]
    assert listed == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
    assert second.cursor is None
    assert unsubscribes.remove(["B@example.com", "c@example.com"], kind="x") == ["b@example.com"]
    assert unsubscribes.find("b@example.com", kind="x") is None
