"""Campaigns that pause themselves because of bounces and complaints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert

from mailctl.delivery_log.campaign_guard import ACTOR, CampaignGuard
from mailctl.delivery_log.campaigns import Campaigns
from mailctl.delivery_log.feedback_reports import FeedbackReports
from mailctl.delivery_log.pauses import Pauses, PauseScope
from mailctl.delivery_log.reports import Report
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.campaign_bounds import CampaignBounds
from mailctl.domain.states import State
from mailctl.errors import LogUnavailable

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


@pytest.fixture
def guard(log: Log) -> CampaignGuard:
    """A guard of a campaign of 500 accepted emails, of which one waits."""
    Campaigns(log.engine, log.outbox, clock=log.time).create_or_update("spring", kind="welcome", rate=None)
    row: dict[str, Any] = {
        "kind": "welcome",
        "queue": "mailctl.bulk",
        "campaign": "spring",
        "attempts": 1,
        "created_at": log.now,
        "updated_at": log.now,
        "due_at": log.now,
        "sent_at": log.now,
    }
    rows = [row | {"id": f"e{n}", "to_address": f"u{n}@example.com", "state": State.SENT} for n in range(500)]
    with writing(log.engine) as connection:
        connection.execute(insert(emails), rows)
    return CampaignGuard(log.engine, CampaignBounds(), clock=log.time)


def report(log: Log, kind: str, numbers: range, **more: Any) -> None:
    """Report something of emails of the campaign, twice each."""
    reports = [
        Report(
            source=source,
            source_id=f"{kind}{n}",
            kind=kind,
            summary=kind,
            email_id=f"e{n}",
            **({"is_proven": True, "is_hard": kind == "bounced"} | more),
        )
        for n in numbers
        for source in ("dsn", "ses")
    ]
    FeedbackReports(log.engine, clock=log.time).record(reports)


def test_a_verdict_is_given_when_enough_were_accepted(log: Log, guard: CampaignGuard) -> None:
    """Also if the last bounce came long before."""
    report(log, "bounced", range(26))
    for n in range(400, 500):
        log.change(f"e{n}", state=State.QUEUED)
    assert guard.pause_failing() == []
    for n in range(400, 500):
        log.change(f"e{n}", state=State.SENT)
    [paused] = guard.pause_failing()
    assert paused.reason == "26 of 500 accepted emails bounced permanently (5.2%; the limit is 5.0%)"


def test_a_campaign_with_too_many_dead_addresses_is_paused_once(log: Log, guard: CampaignGuard) -> None:
    """With the reason; none of its emails can be claimed. An operator who resumes it has decided."""
    waiting = log.add("zoe@example.org", campaign="spring")
    report(log, "bounced", range(25))
    assert guard.pause_failing() == []
    report(log, "bounced", range(25, 26))
    [paused] = guard.pause_failing()
    assert paused.reason == "26 of 500 accepted emails bounced permanently (5.2%; the limit is 5.0%)"
    pauses = Pauses(log.engine, clock=log.time)
    [pause] = pauses.read()
    assert (pause.scope, pause.name, pause.actor) == (PauseScope.CAMPAIGN, "spring", ACTOR)
    assert pause.covers(log.email(waiting))
    assert str(pause.resume_command) == "mailctl campaign resume spring"
    assert log.claims.claim([waiting], worker="w").claims == []
    single = log.add("zoe@example.net")
    assert log.claim(single)
    assert pauses.resume(PauseScope.CAMPAIGN, "spring")
    report(log, "bounced", range(26, 90))
    assert guard.pause_failing() == []
    assert log.claim(waiting)


def test_complaints_have_a_bound_of_their_own(log: Log, guard: CampaignGuard) -> None:
    """Each email counts once, from however many sources the report comes."""
    report(log, "complained", range(4))
    assert guard.pause_failing() == []
    report(log, "complained", range(4, 5))
    assert [each.name for each in guard.pause_failing()] == ["spring"]


def test_soft_bounces_and_unproven_reports_do_not_count(log: Log, guard: CampaignGuard) -> None:
    """Full mailboxes say nothing about the list of addresses, and forgers must not stop a campaign."""
    report(log, "bounced", range(100), is_hard=False)
    report(log, "complained", range(100, 200), is_proven=False)
    assert guard.pause_failing() == []


def test_a_campaign_that_could_not_be_paused_is_paused_later(log: Log, guard: CampaignGuard) -> None:
    """The log did not take the pause; no further bounce is needed."""
    report(log, "bounced", range(26))
    with writing(log.engine) as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER locked BEFORE INSERT ON mailctl_pauses BEGIN SELECT RAISE(ABORT, 'locked'); END"
        )
    with pytest.raises(LogUnavailable):
        guard.pause_failing()
    with writing(log.engine) as connection:
        connection.exec_driver_sql("DROP TRIGGER locked")
    assert [paused.name for paused in guard.pause_failing()] == ["spring"]
