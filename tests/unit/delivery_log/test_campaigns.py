"""Campaigns: how many emails their rates let go."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.campaigns import Campaigns
from mailctl.delivery_log.circuits import Circuits
from mailctl.delivery_log.pauses import Pauses, PauseScope
from mailctl.domain.models import SentClaim
from mailctl.domain.outcomes import Outcome, OutcomeKind, ReplyCategory, SmtpReply
from mailctl.domain.states import State
from tests.unit.delivery_log.conftest import LATER, REFUSED, SENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.delivery_log.conftest import Log

NO_TURN = Outcome(kind=OutcomeKind.DEFERRED, reply=SmtpReply(text="it waits"), category=ReplyCategory.RATE)


def started(log: Log, *, rate: float | None, count: int = 20) -> Campaigns:
    """Return a campaign with emails that are due."""
    campaigns = Campaigns(log.engine, log.outbox, clock=log.time)
    campaigns.create_or_update("spring", kind="welcome", rate=rate)
    drafts = [log.draft(f"u{n}@example.com", first_id=f"c{n}", campaign="spring") for n in range(count)]
    campaigns.add(campaigns.prepare_batch(drafts))
    return campaigns


def test_emails_with_similar_ids_are_taken_together(log: Log) -> None:
    """They are neighbours in the indices, so that fewer pages change."""
    campaigns = Campaigns(log.engine, log.outbox, clock=log.time)
    campaigns.create_or_update("spring", kind="welcome", rate=None)
    drafts = [log.draft(f"{first}@example.com", first_id=first, campaign="spring") for first in "dbeac"]
    campaigns.add(campaigns.prepare_batch(drafts))
    assert [*campaigns.take_due(limit=2), *campaigns.take_due(limit=3)] == [*"abcde"]


def test_without_a_rate_all_due_emails_go(log: Log) -> None:
    """As many as are asked for."""
    campaigns = started(log, rate=None)
    assert len(campaigns.take_due(limit=15)) == 15
    assert len(campaigns.take_due(limit=15)) == 5
    assert not campaigns.has_due()


def test_a_rate_counts_for_all_callers_together(log: Log) -> None:
    """What one has taken, another does not get."""
    campaigns = started(log, rate=4.0)
    log.forward(0.5)
    assert [len(campaigns.take_due(limit=50)) for _ in range(2)] == [2, 0]


def test_after_a_break_no_more_than_half_a_second_of_the_rate_goes_at_once(log: Log) -> None:
    """A burst would be more than the rate allows; once workers have taken these, one more goes at once."""
    campaigns = started(log, rate=4.0)
    log.forward(3600)
    taken = [*campaigns.take_due(limit=50)]
    assert [len(taken), len(campaigns.take_due(limit=50))] == [2, 0]
    log.claims.claim(taken, worker="w")
    assert [len(campaigns.take_due(limit=50)) for _ in range(2)] == [1, 0]


def test_a_campaign_that_was_held_up_catches_up(log: Log) -> None:
    """A little faster than its rate: 42 in 10 seconds where 40 would be usual."""
    campaigns = started(log, rate=4.0, count=100)
    log.forward(60)
    assert taken_within(log, campaigns, seconds=9.8) == 42


@pytest.mark.parametrize(
    ("scope", "name"),
    [(PauseScope.CAMPAIGN, "spring"), (PauseScope.KIND, "welcome"), (PauseScope.QUEUE, "celery")],
)
def test_a_campaign_does_not_catch_up_on_a_pause(log: Log, scope: PauseScope, name: str) -> None:
    """Whoever paused it did not want these emails to go out later at a higher pace."""
    campaigns, pauses = started(log, rate=4.0, count=100), Pauses(log.engine, clock=log.time)
    pauses.pause(scope, name, actor="ada", reason="")
    log.forward(60)
    pauses.resume(scope, name)
    assert taken_within(log, campaigns, seconds=9.8) == 39


def taken_within(log: Log, campaigns: Campaigns, *, seconds: float, tick: float = 0.2) -> int:
    """Return how many emails a relay takes that comes by after each tick; workers send them at once."""
    taken = 0
    for _ in range(round(seconds / tick)):
        log.forward(tick)
        ids = [*campaigns.take_due(limit=50)]
        taken += len(ids)
        if ids:
            claims = log.claims.claim(ids, worker="w").claims
            log.results.finish_sent(
                [SentClaim(claim=each, state=State.SENT, outcome=SENT, message_id="<m>") for each in claims]
            )
    return taken


def postpone(log: Log, ids: list[str]) -> None:
    """The circuit of the mail server opens."""
    circuit = Circuits(log.engine, "mail.example:587", clock=log.time)
    circuit.record_failure("down", opens_at_once=True)
    for email_id in ids:
        circuit.postpone_email(email_id, until=log.now, reason="down")


def let_go(log: Log, ids: list[str]) -> None:
    """Too little of the lease is left."""
    for email_id in ids:
        log.results.let_go(log.claim(email_id))


def wait_for_turn(log: Log, ids: list[str]) -> None:
    """The rate of the mail server is used up."""
    for email_id in ids:
        log.defer(log.claim(email_id), NO_TURN, seconds=0, counts=False)


def lose(log: Log, ids: list[str]) -> None:
    """The broker loses the messages."""
    later = log.now + timedelta(seconds=1)
    log.recovery.return_lost(queue="celery", queued_before=later, on_broker=0)


@pytest.mark.parametrize(
    "come_back",
    [
        lambda log, ids: log.claims.return_unstarted(ids, reason="other emails go first"),
        lambda log, ids: [log.publications.return_unpublished(email_id) for email_id in ids],
        postpone,
        let_go,
        wait_for_turn,
        lose,
    ],
)
def test_what_comes_back_unsent_is_released_again_at_once(
    log: Log, come_back: Callable[[Log, list[str]], object]
) -> None:
    """It counts against the rate of its campaign once, when it is sent."""
    campaigns = started(log, rate=4.0)
    log.forward(0.5)
    ids = [*campaigns.take_due(limit=50)]
    come_back(log, ids)
    log.forward(0.01)
    assert len(campaigns.take_due(limit=50)) == len(ids) == 2


def test_what_a_mail_server_has_deferred_counts(log: Log) -> None:
    """It was asked to take it, so that the next attempt is one more."""
    campaigns = started(log, rate=4.0)
    log.forward(0.5)
    for email_id in campaigns.take_due(limit=50):
        log.defer(log.claim(email_id), LATER, seconds=0)
    assert campaigns.take_due(limit=50) == {}


@pytest.mark.parametrize("given", [1, 2])
def test_a_known_email_is_not_recorded_again(log: Log, given: int) -> None:
    """Within one batch or in the next."""
    campaigns = started(log, rate=None, count=given)
    drafts = [log.draft("u0@example.com", first_id="c0", campaign="spring") for _ in range(2)]
    batch = campaigns.prepare_batch([*drafts, log.draft("n@example.com", first_id="n", campaign="spring")])
    assert (batch.requested, campaigns.add(batch).new) == (3, ["n"])
    assert campaigns.known(["c0", "n", "other"]) == {"c0", "n"}


def test_a_known_campaign_keeps_its_rate_unless_another_one_is_given(log: Log) -> None:
    """Whoever repeats a command to continue does not mean to send as fast as possible."""
    campaigns = started(log, rate=4.0)
    campaigns.create_or_update("spring", kind="welcome", rate=None)
    assert campaigns.find_rate("spring") == (4.0,)
    campaigns.create_or_update("spring", kind="welcome", rate=8.0)
    assert campaigns.find_rate("spring") == (8.0,)


def test_the_rate_of_a_campaign_changes_while_it_is_sent(log: Log) -> None:
    """Also to no limit; an unknown campaign has none."""
    campaigns = started(log, rate=4.0)
    assert campaigns.set_rate("spring", None)
    assert (campaigns.find_rate("spring"), len(campaigns.take_due(limit=50))) == ((None,), 20)
    assert not campaigns.set_rate("autumn", 1.0)
    assert campaigns.find_rate("autumn") is None


@pytest.mark.parametrize("is_repeated", [False, True])
def test_a_slower_rate_holds_from_the_moment_at_which_it_is_set(log: Log, *, is_repeated: bool) -> None:
    """What went out at the faster rate does not count against it: the campaign does not stand still first."""
    campaigns = started(log, rate=4.0, count=60)
    taken_within(log, campaigns, seconds=5, tick=0.25)
    if is_repeated:
        campaigns.create_or_update("spring", kind="welcome", rate=0.5)
    else:
        campaigns.set_rate("spring", 0.5)
    assert 9 <= taken_within(log, campaigns, seconds=20, tick=1) <= 10


def test_setting_the_same_rate_again_changes_nothing(log: Log) -> None:
    """Whoever sets it over and over sends no faster."""
    campaigns = started(log, rate=4.0)
    log.forward(0.5)
    assert len(campaigns.take_due(limit=50)) == 2
    campaigns.set_rate("spring", 4.0)
    log.forward(0.25)
    assert len(campaigns.take_due(limit=50)) <= 1


def test_a_paused_campaign_is_not_taken(log: Log) -> None:
    """Until it is resumed; a message of it that is on the broker is not claimed either."""
    campaigns, pauses = started(log, rate=None, count=4), Pauses(log.engine, clock=log.time)
    published = list(campaigns.take_due(limit=2))
    pauses.pause(PauseScope.CAMPAIGN, "spring", actor="ada", reason="")
    assert campaigns.take_due(limit=50) == {}
    assert log.claims.claim(published, worker="w").claims == []
    pauses.resume(PauseScope.CAMPAIGN, "spring")
    assert len(campaigns.take_due(limit=50)) == 4


def test_the_pace_is_that_of_all_attempts_that_have_ended_recently(log: Log) -> None:
    """Whatever their outcome; an email that is being sent does not count."""
    campaigns = started(log, rate=None, count=3)
    assert campaigns.pace() == 0
    claims = log.claims.claim([*campaigns.take_due(limit=3)], worker="w").claims
    log.defer(claims[0], LATER)
    log.results.finish(claims[1], State.FAILED, outcome=REFUSED)
    assert campaigns.pace() == 2 / 5
    log.forward(10)
    assert campaigns.pace() == 0
