"""Statistics: what is counted where."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.delivery_log.queries.statistics import Statistics, first_event_seq_since
from mailctl.delivery_log.storage.engine import reading
from mailctl.domain.states import State
from tests.unit.delivery_log.conftest import SENT

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

MINUTE = timedelta(minutes=1)


def send(log: Log, *, seconds: float) -> None:
    """Have an email sent after some seconds."""
    claim = log.claim(log.queue())
    log.forward(seconds)
    log.results.finish(claim, State.SENT, outcome=SENT)


@pytest.mark.parametrize(
    ("dimension", "name"),
    [
        (Dimension.KIND, "welcome"),
        (Dimension.DOMAIN, "example.com"),
        (Dimension.PROVIDER, "other domains"),
        (Dimension.HOUR, "2026-03-01T12:00Z"),
        (Dimension.ERROR, "550 5.1.1"),
    ],
)
def test_emails_are_grouped(log: Log, dimension: Dimension, name: str) -> None:
    """By a reply's codes rather than by its text."""
    log.change(log.add(), error="no zoe here", smtp_code=550, smtp_enhanced="5.1.1")
    [group] = Statistics(log.engine).grouped_by(dimension)
    assert (group.name, group.share, group.totals.recorded) == (name, 1.0, 1)


def test_the_error_of_an_email_that_came_back_is_not_its_acceptance(log: Log) -> None:
    """The reply of the mail server that took it says nothing about the one that refused it."""
    said = "refused by mx.example.net: 550 5.1.1 no such user"
    log.change(log.add(), state=State.BOUNCED, error=said, smtp_code=250, smtp_enhanced="2.0.0")
    [group] = Statistics(log.engine).grouped_by(Dimension.ERROR)
    assert group.name == said


def test_domains_are_grouped_by_the_provider_of_their_mailboxes(log: Log) -> None:
    """In any case and country; a domain that only looks like one is another."""
    for address in ("a@gmail.com", "b@GoogleMail.com", "c@hotmail.fr", "d@outlook.com.br", "e@notgmail.com"):
        log.add(address)
    groups = Statistics(log.engine).grouped_by(Dimension.PROVIDER)
    assert {group.name: group.totals.recorded for group in groups} == {
        "Google": 2,
        "Microsoft": 2,
        "other domains": 1,
    }


def test_what_feedback_tells_is_counted_in_each_group(log: Log) -> None:
    """Of the emails that a mail server accepted; whoever complains has the email."""
    states = (State.SENT, State.DELIVERED, State.BOUNCED, State.COMPLAINED)
    for state in states:
        log.change(log.add(), state=state)
    [group] = Statistics(log.engine).grouped_by(Dimension.DOMAIN)
    totals = group.totals
    assert (totals.sent, totals.delivered, totals.bounced, totals.complained) == (4, 2, 1, 1)
    assert (totals.delivered_rate, totals.bounced_rate, totals.complained_rate) == (0.5, 0.25, 0.25)


def test_latency_is_exact(log: Log) -> None:
    """The least time within which that share of the emails was accepted."""
    for seconds in (1, 2, 3, 4):
        send(log, seconds=seconds)
    latency = Statistics(log.engine).latency()
    assert (latency.count, round(latency.p50 or 0, 2), round(latency.longest or 0, 2)) == (4, 2.0, 4.0)


def test_the_first_event_of_a_period_is_found(log: Log) -> None:
    """Whether all are older, or none."""
    for _ in range(5):
        log.add()
        log.forward(60)
    with reading(log.engine) as connection:
        found = [first_event_seq_since(connection, log.now - n * MINUTE) for n in (0, 2, 9)]
    assert found == [6, 4, 1]


def test_one_campaign_is_counted_alone(log: Log) -> None:
    """In totals and groups alike."""
    for campaign in (None, "spring", "spring", "autumn"):
        log.add(campaign=campaign)
    spring = Statistics(log.engine, campaign="spring")
    assert spring.totals().recorded == 2
    assert [group.totals.recorded for group in spring.grouped_by(Dimension.CAMPAIGN)] == [2]
    assert Statistics(log.engine).totals().recorded == 4
