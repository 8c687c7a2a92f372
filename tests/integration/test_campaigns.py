"""Campaigns in the delivery log, on SQLite and on PostgreSQL."""

from __future__ import annotations

import hashlib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.attempt_results import AttemptResults
from mailctl.delivery_log.campaigns import Campaigns
from mailctl.delivery_log.claims import Claims
from mailctl.delivery_log.outbox import Outbox
from mailctl.delivery_log.publications import Publications
from mailctl.delivery_log.queries.lookups import EmailLookups
from mailctl.delivery_log.storage.engine import open_engine, writing
from mailctl.delivery_log.storage.schema_version import upgrade
from mailctl.delivery_log.storage.tables import campaigns
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.domain.catalog import WELCOME
from mailctl.domain.email_ids import day_digits, day_of
from mailctl.domain.factory import make_content, make_drafts, make_user
from mailctl.domain.models import SentClaim
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.campaign import FIRST_CHUNK_ROWS, CampaignRecorder
from mailctl.runtime import Runtime
from mailctl.security.keyring import Keyring
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from mailctl.domain.models import Draft

SETTING = "MAILCTL_DATABASE_URL"
KEYRING = Keyring(["a-secret-key-for-tests"])
LEASE = timedelta(seconds=60)
ACCEPTED = Outcome(kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text="ok"), stage="body")


class Log:
    """The parts of the delivery log that campaigns use, with a clock that the test sets."""

    def __init__(self, engine: Engine) -> None:
        self.now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
        clock = lambda: self.now  # noqa: E731
        outbox = Outbox(engine, KEYRING, idempotency_window=LEASE, clock=clock)
        self.outbox = outbox
        self.publications = Publications(engine, clock=clock)
        self.campaigns = Campaigns(engine, outbox, clock=clock)
        self.results = AttemptResults(engine, clock=clock)
        self.claims = Claims(engine, KEYRING, lease=LEASE, clock=clock)
        self.history = EmailLookups(engine)

    def drafts(self, count: int, campaign: str = "spring") -> list[Draft]:
        """Return drafts of a campaign with numbered ids."""
        return [
            make_drafts(
                EmailRequest(kind=WELCOME, campaign=campaign),
                [make_content(WELCOME, make_user(email=f"u{n}@example.com"), origins=frozenset())],
                queue="mailctl.bulk",
                now=self.now,
                first_id=f"{campaign}-{n}",
            )[0]
            for n in range(count)
        ]

    def begin(self, count: int, *, rate: float | None = None, campaign: str = "spring") -> list[str]:
        """Record a campaign; return the ids of its emails."""
        self.campaigns.create_or_update(campaign, kind="welcome", rate=rate)
        return self.campaigns.add(self.campaigns.prepare_batch(self.drafts(count, campaign))).new


@pytest.fixture(params=["sqlite", "postgresql"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    """An empty delivery log in each kind of database."""
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'log.db'}" if is_sqlite else request.getfixturevalue("postgres_url")
    engine = open_engine(parse_url(url, setting=SETTING), setting=SETTING)
    upgrade(engine)
    yield Log(engine)
    engine.dispose()


def test_the_same_rows_are_recorded_once(log: Log) -> None:
    """Recording the same emails again adds the missing ones and their events."""
    log.begin(3)
    assert log.campaigns.add(log.campaigns.prepare_batch(log.drafts(5))).new == ["spring-3", "spring-4"]
    assert log.history.count_by_state() == {State.PENDING: 5}
    assert [len(log.history.events(f"spring-{n}")) for n in range(5)] == [1] * 5


def test_a_rate_is_one_for_all_relays(log: Log) -> None:
    """Emails that one worker released count against the rate of all workers."""
    log.begin(100, rate=10)
    assert log.campaigns.take_due(limit=100) == {}
    log.now += timedelta(seconds=0.5)
    first = log.campaigns.take_due(limit=3)
    second = log.campaigns.take_due(limit=100)
    assert (len(first), len(second)) == (3, 2)
    assert log.campaigns.take_due(limit=100) == {}
    log.now += timedelta(seconds=60)
    assert log.campaigns.take_due(limit=100) == {}, "workers have not taken the others"
    log.claims.claim([*first, *second], worker="w")
    assert len(log.campaigns.take_due(limit=100)) == 5, "after a pause, half a second's worth"


def test_what_a_mail_server_that_stalls_may_still_accept_counts_for_the_rate(log: Log) -> None:
    """It ends at once when the server gets on; after that the others go out more slowly for a while."""
    log.begin(500, rate=20)

    def take() -> list[SentClaim]:
        log.now += timedelta(seconds=0.2)
        taken = log.claims.claim(list(log.campaigns.take_due(limit=100)), worker="w").claims
        return [
            SentClaim(claim=claim, state=State.SENT, outcome=ACCEPTED, message_id="<m>") for claim in taken
        ]

    for _ in range(50):  # it works for ten seconds
        log.results.finish_sent(take())
    held_up = [sent for _ in range(75) for sent in take()]  # and stalls for fifteen
    assert len(held_up) <= 5 * 20
    log.results.finish_sent(held_up)
    later = 0
    for _ in range(49):
        sent = take()
        log.results.finish_sent(sent)
        later += len(sent)
    assert 80 <= len(held_up) + later <= 10 * 20 * 1.1
    assert log.history.count_by_state()[State.SENT] == 200 + len(held_up) + later


def test_a_slow_campaign_keeps_no_other_waiting(log: Log) -> None:
    """A campaign whose rate is used up does not block the next one."""
    log.begin(5, rate=1, campaign="a-slow-one")
    quick = log.begin(5, campaign="quick")
    assert set(log.campaigns.take_due(limit=9)) == set(quick)


def test_a_relay_finds_other_emails_first(log: Log) -> None:
    """`reserve_due` returns no emails of campaigns."""
    log.begin(50)
    [reset] = log.drafts(1, campaign="none")
    log.outbox.add(
        make_drafts(EmailRequest(kind=WELCOME), [reset.content], queue="celery", now=log.now), due_at=log.now
    )
    assert [email.campaign for email in log.publications.reserve_due(limit=10)] == [None]


def test_a_batch_is_recorded_together(log: Log) -> None:
    """Each email of a batch gets its own reply and events, unless its claim is lost."""
    log.begin(4)
    ids = list(log.campaigns.take_due(limit=3))
    claims = log.claims.claim([*ids, "spring-3"], worker="w").claims
    assert len(claims) == 4
    assert log.claims.claim(ids, worker="other").claims == []
    ended = [
        SentClaim(
            claim=claim,
            state=State.SENT,
            outcome=Outcome(kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text=f"queued as {n}")),
            message_id=f"<{n}@example.com>",
        )
        for n, claim in enumerate(claims)
    ]
    assert log.results.finish_sent(ended[:1]) == []
    assert log.results.finish_sent(ended) == [claims[0].id]
    found = [log.history.find(end.claim.id)[0] for end in ended]
    assert {email.state for email in found} == {State.SENT}
    assert [email.reply.text for email in found] == [f"queued as {n}" for n in range(4)]
    story = [str(event.state) for event in log.history.events(ids[0])]
    assert story == ["pending", "queued", "sending", "sent"]


def test_what_there_is_no_time_for_goes_back(log: Log) -> None:
    """An email that is returned unstarted is pending and due at once."""
    log.begin(3)
    ids = list(log.campaigns.take_due(limit=3))
    assert not log.campaigns.has_due()
    log.claims.claim(ids[:1], worker="w")
    log.claims.return_unstarted(ids, reason="other emails go first")
    assert log.history.count_by_state() == {State.SENDING: 1, State.PENDING: 2}
    assert log.campaigns.has_due()
    assert len(log.campaigns.take_due(limit=3)) == 2


def test_a_long_campaign_leaves_the_write_ahead_log_short(tmp_path: Path) -> None:
    """The write-ahead log of SQLite does not grow with the number of rows."""
    with closing(Runtime(Settings(mailctl_home=tmp_path / "home"))) as runtime:
        rows = [RecipientRow(line=n, email=f"user{n}@example.com") for n in range(60_000)]
        steps = CampaignRecorder(runtime, EmailRequest(campaign="long", kind=WELCOME)).record(rows)
        lengths = [(tmp_path / "home" / "mailctl.db-wal").stat().st_size for _ in steps]
    assert sum(lengths) > 0
    assert max(lengths) < 64 * 1024 * 1024


def begin_spring(runtime: Runtime, *, id_day: int | None) -> CampaignRecorder:
    """Return a recorder that was made before another process began the campaign on some day."""
    recorder = CampaignRecorder(runtime, EmailRequest(campaign="spring", kind=WELCOME))
    runtime.campaigns.create_or_update("spring", kind="welcome", rate=None)
    with writing(runtime.engine) as connection:
        connection.execute(campaigns.update().values(id_day=id_day))
    return recorder


def recorded_ids(recorder: CampaignRecorder, number: int) -> list[str]:
    rows = (RecipientRow(line=n, email=f"user{n}@example.com") for n in range(number))
    return [email_id for chunk in recorder.record(rows) for email_id, _ in chunk.emails]


def test_ids_begin_with_the_day_on_which_the_campaign_began(tmp_path: Path) -> None:
    """Whoever continues it on another day gives each address the same id, and sends nothing twice."""
    with closing(Runtime(Settings(mailctl_home=tmp_path / "home"))) as runtime:
        yesterday = day_of(runtime.clock()) - 1
        found = recorded_ids(begin_spring(runtime, id_day=yesterday), FIRST_CHUNK_ROWS + 1)
        assert {email_id[:4] for email_id in found} == {day_digits(yesterday)}
        assert len(found) == FIRST_CHUNK_ROWS + 1
        again = CampaignRecorder(runtime, EmailRequest(campaign="spring", kind=WELCOME))
        assert recorded_ids(again, FIRST_CHUNK_ROWS + 1) == []


def test_a_campaign_that_an_earlier_version_began_keeps_its_ids(tmp_path: Path) -> None:
    """They begin with no day; with another id, an email would be sent again."""
    with closing(Runtime(Settings(mailctl_home=tmp_path / "home"))) as runtime:
        [found] = recorded_ids(begin_spring(runtime, id_day=None), 1)
        assert found[:8] == hashlib.sha256(b"spring\0").hexdigest()[:8]
