"""How far a campaign is, and whether it misbehaves."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select

from mailctl.delivery_log.pauses import PauseScope
from mailctl.delivery_log.queries.campaign_stats import count_campaigns
from mailctl.delivery_log.storage.tables import emails, events
from mailctl.domain.catalog import WELCOME
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.campaign import CampaignRecorder
from mailctl.errors import NotFound
from mailctl.monitoring.campaigns import CampaignStatus, find_campaign, list_campaigns
from mailctl.operations.known_names import check_campaign
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.emails import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path


def status(states: Mapping[State, int], **more: Any) -> CampaignStatus:
    """Return a campaign of ten emails a second that keeps its rate."""
    fields: dict[str, Any] = {"name": "spring", "kind": "welcome", "rate": 10.0, "kept_rate": 10.0}
    fields["measured_seconds"] = 60.0
    fields |= {"created_at": NOW, "changed_at": NOW, "pause": None, "at": NOW}
    return CampaignStatus(states=states, **{**fields, **more})


def test_the_end_follows_from_what_is_ready_and_the_rate() -> None:
    """From the one that is kept where that is far lower, or where there is no limit."""
    halfway = {State.SENT: 50, State.PENDING: 30, State.QUEUED: 20}
    assert status(halfway).progress == 0.5
    assert status(halfway, kept_rate=2.5).expected_end == NOW + timedelta(seconds=20)
    assert status(halfway, kept_rate=2.5, rate=None).expected_end == NOW + timedelta(seconds=20)
    assert (status(halfway).is_at_rate, status(halfway, kept_rate=2.5).is_at_rate) == (True, False)
    assert not status(halfway, rate=None).is_at_rate
    for more in ({"pause": object()}, {"kept_rate": 0.0}, {"is_served": False}):
        assert status(halfway, **more).expected_end is None
    assert status({State.SENT: 50}).expected_end is None


def test_after_a_change_of_the_rate_the_end_follows_from_the_new_one() -> None:
    """The emails of the last minute went out at the earlier one."""
    waiting = {State.SENT: 50, State.PENDING: 50}
    assert status(waiting, kept_rate=5.0, rate=0.5).expected_end == NOW + timedelta(seconds=100)


def test_nothing_is_said_of_the_end_of_emails_that_are_put_off() -> None:
    """They end at the time of their next attempt, or of their release."""
    assert status({State.SENT: 50, State.DEFERRED: 10, State.HELD: 5}).expected_end is None
    both = {State.SENT: 50, State.DEFERRED: 10, State.PENDING: 10}
    assert status(both).expected_end == NOW + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("sent", "failed", "is_failing"), [(100, 5, False), (100, 10, True), (1000, 20, False), (0, 9, False)]
)
@pytest.mark.parametrize("state", [State.FAILED, State.BOUNCED])
def test_many_failures_are_more_than_wrong_addresses(
    sent: int, failed: int, is_failing: bool, state: State
) -> None:
    """At least ten, and more than one in twenty of those that ended; at once or later makes no difference."""
    found = status({State.SENT: sent, state: failed, State.PENDING: 7})
    assert (found.is_failing, found.failed + found.bounced, found.waiting) == (is_failing, failed, 7)


def test_a_campaign_is_behind_if_it_keeps_less_than_half_of_its_rate() -> None:
    """Only while emails wait, some go out, and nobody has paused it."""
    waiting = {State.PENDING: 5}
    assert status(waiting, kept_rate=4.0).is_behind
    assert not status(waiting, kept_rate=6.0).is_behind
    assert not status(waiting, kept_rate=4.0, rate=None).is_behind
    assert not status(waiting, kept_rate=0.0).is_behind
    assert not status(waiting, kept_rate=4.0, pause=object()).is_behind
    assert not status({State.SENT: 5}, kept_rate=4.0).is_behind
    assert not status({State.DEFERRED: 5}, kept_rate=4.0).is_behind
    assert not status(waiting, kept_rate=4.0, measured_seconds=10.0).is_behind


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """A log with two campaigns."""
    opened = Runtime(Settings(mailctl_home=tmp_path))
    for name, count in (("autumn", 1), ("spring", 3)):
        rows = [RecipientRow(line=n, email=f"u{n}@example.com") for n in range(count)]
        recorder = CampaignRecorder(opened, EmailRequest(kind=WELCOME, campaign=name), rate=2.0)
        list(recorder.record(rows))
    yield opened
    opened.close()


def test_campaigns_are_listed_the_latest_first(runtime: Runtime) -> None:
    """With what was asked for, and what waits."""
    spring, autumn = list_campaigns(runtime)
    assert (spring.name, spring.kind, spring.rate, spring.total, spring.waiting) == (
        "spring",
        "welcome",
        2.0,
        3,
        3,
    )
    assert autumn.name == "autumn"
    assert list_campaigns(runtime, changed_since=runtime.clock() + timedelta(hours=1)) == []


def test_a_campaign_that_has_just_begun_keeps_its_rate(runtime: Runtime) -> None:
    """Its pace is that since its first email, and what went out before a pause of a minute is forgotten."""
    start = runtime.clock() + timedelta(hours=1)
    ids = _recorded(runtime, count=95)
    _sent(runtime, {each: start - timedelta(minutes=3) for each in ids[65:]})
    _sent(runtime, {each: start + timedelta(seconds=n / 5) for n, each in enumerate(ids[:65])})
    [found] = count_campaigns(runtime.engine, now=start + timedelta(seconds=13), name="summer")
    assert (found.pace.seconds, found.pace.per_second) == (13.0, 5.0)


def _recorded(runtime: Runtime, *, count: int) -> list[str]:
    """Record a campaign of five emails a second, and return the ids of its emails."""
    rows = [RecipientRow(line=n, email=f"s{n}@example.com") for n in range(count)]
    recorder = CampaignRecorder(runtime, EmailRequest(kind=WELCOME, campaign="summer"), rate=5.0)
    list(recorder.record(rows))
    with runtime.engine.connect() as connection:
        return list(connection.execute(select(emails.c.id).where(emails.c.campaign == "summer")).scalars())


def _sent(runtime: Runtime, times: Mapping[str, datetime]) -> None:
    """Record that emails were sent at these times."""
    rows = [
        {"email_id": each, "at": at, "state": State.SENT, "text": "250 ok", "attempt": 1}
        for each, at in times.items()
    ]
    with runtime.engine.begin() as connection:
        connection.execute(insert(events), rows)


def test_the_pause_of_the_queue_of_campaigns_counts(runtime: Runtime) -> None:
    """It keeps all of them; without a worker, nothing is said of their end either."""
    runtime.pauses.pause(PauseScope.QUEUE, "celery", actor="ada", reason="")
    assert not any(each.pause or each.is_served for each in list_campaigns(runtime))
    runtime.pauses.pause(PauseScope.QUEUE, "mailctl.bulk", actor="ada", reason="")
    assert all(each.pause for each in list_campaigns(runtime))


def test_its_own_pause_and_that_of_its_kind_count(runtime: Runtime) -> None:
    """Not that of another campaign."""
    runtime.pauses.pause(PauseScope.CAMPAIGN, "spring", actor="ada", reason="")
    spring, autumn = list_campaigns(runtime)
    assert (spring.pause is not None, autumn.pause) == (True, None)
    runtime.pauses.pause(PauseScope.KIND, "welcome", actor="ada", reason="")
    assert all(each.pause for each in list_campaigns(runtime))


def test_an_unknown_campaign_names_those_that_exist(runtime: Runtime) -> None:
    """A misspelt name is the usual case; every command says the same of it."""
    assert find_campaign(runtime, "spring").status.total == 3
    for find in (find_campaign, check_campaign):
        with pytest.raises(NotFound) as caught:
            find(runtime, "sprung")
        assert caught.value.fix == "Did you mean 'spring'?"
        with pytest.raises(NotFound) as caught:
            find(runtime, "july")
        assert caught.value.fix == "The latest campaigns are: spring, autumn."
