"""What the delivery log tells of queues and workers, on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.attempt_results import AttemptResults
from mailctl.delivery_log.claims import Claims
from mailctl.delivery_log.idempotency import IdempotencyKeys
from mailctl.delivery_log.outbox import Outbox
from mailctl.delivery_log.publications import Publications
from mailctl.delivery_log.queries.lookups import EmailLookups
from mailctl.delivery_log.queries.queue_stats import Answer, QueueDepth, QueueRate, QueueStats, Throughput
from mailctl.delivery_log.storage.engine import open_engine
from mailctl.delivery_log.storage.schema_version import upgrade
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_content, make_drafts, make_user
from mailctl.domain.models import Deferral
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.security.keyring import Keyring
from tests.workers import worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from mailctl.domain.models import Email

KEYRING = Keyring(["a-secret-key-for-tests"])
LEASE = timedelta(seconds=60)
SENT = Outcome(kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text="queued"), stage="body")
LATER = Outcome(kind=OutcomeKind.DEFERRED, reply=SmtpReply(code=451, text="later"), stage="rcpt")


class Post:
    """A delivery log in which emails are staged, at a time that the test sets."""

    def __init__(self, engine: Engine) -> None:
        self.now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
        clock = lambda: self.now  # noqa: E731
        self.engine = engine
        self.flow = QueueStats(engine, clock=clock)
        self.history = EmailLookups(engine)
        self.used_keys = IdempotencyKeys(engine)
        self._outbox = Outbox(engine, KEYRING, idempotency_window=LEASE, clock=clock)
        self._publications = Publications(engine, clock=clock)
        self._results = AttemptResults(engine, clock=clock)
        self._claims = Claims(engine, KEYRING, lease=LEASE, clock=clock)

    def forward(self, seconds: float) -> None:
        """Let time go by."""
        self.now += timedelta(seconds=seconds)

    def add(self, *, queue: str = "celery", in_seconds: float | None = None, key: str | None = None) -> str:
        """Record an email."""
        content = make_content(WELCOME, make_user(email="a@example.com"), origins=frozenset())
        not_before = None if in_seconds is None else self.now + timedelta(seconds=in_seconds)
        drafts = make_drafts(
            EmailRequest(kind=WELCOME, not_before=not_before, idempotency_key=key),
            [content],
            queue=queue,
            now=self.now,
        )
        return self._outbox.add(drafts, due_at=self.now).id

    def queue(self, **more: str) -> str:
        """Record an email that is on the broker."""
        email_id = self.add(**more)  # type: ignore[arg-type]
        self._publications.mark_queued([email_id])
        return email_id

    def begin(self, worker: str = "w1") -> str:
        """Have a worker take an email."""
        email_id = self.queue()
        [self._claim] = self._claims.claim([email_id], worker=worker).claims
        return email_id

    def send(self, worker: str = "w1") -> str:
        """Have a worker send an email."""
        email_id = self.begin(worker)
        self._results.finish(self._claim, State.SENT, outcome=SENT)
        return email_id

    def defer(self, worker: str = "w1") -> str:
        """Have a worker try an email in vain."""
        email_id = self.begin(worker)
        until = self.now + timedelta(minutes=10)
        self._results.defer(Deferral(claim=self._claim, until=until, outcome=LATER))
        return email_id

    def email(self, email_id: str) -> Email:
        """Return an email as the log has it."""
        return self.history.find(email_id)[0]


@pytest.fixture(params=["sqlite", "postgresql"])
def post(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Post]:
    """An empty delivery log."""
    is_file = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'log.db'}" if is_file else request.getfixturevalue("postgres_url")
    engine = open_engine(parse_url(url, setting="MAILCTL_DATABASE_URL"), setting="MAILCTL_DATABASE_URL")
    upgrade(engine)
    yield Post(engine)
    engine.dispose()


def test_each_queue_has_its_numbers(post: Post) -> None:
    """What waits, what is under way, what is for later; ended emails are in none of them."""
    started = post.now
    post.queue()
    post.forward(5)
    post.queue()
    post.add()
    post.add(in_seconds=3600)
    post.begin()
    post.send()
    post.defer()
    post.add(queue="reports")
    found = post.flow.depths()
    assert found["celery"] == QueueDepth(
        queue="celery",
        pending=1,
        queued=2,
        sending=1,
        scheduled=1,
        deferred=1,
        held=0,
        waiting_since=started,
    )
    assert (found["reports"].pending, found["reports"].queued) == (1, 0)


def test_an_email_waits_since_it_may_go_out(post: Post) -> None:
    """What was scheduled is not old when its time comes."""
    post.add(in_seconds=600)
    post.forward(610)
    [depth] = post.flow.depths().values()
    assert (depth.pending, depth.scheduled) == (1, 0)
    assert depth.waiting_since == post.now - timedelta(seconds=10)


def test_a_deferred_email_waits_since_it_was_recorded(post: Post) -> None:
    """It is no younger for having been tried."""
    recorded = post.now
    post.defer()
    post.forward(60)
    [depth] = post.flow.depths().values()
    assert (depth.deferred, depth.waiting_since) == (1, recorded)


def test_what_is_deferred_has_not_left_its_queue(post: Post) -> None:
    """While the mail server says "later" nothing goes out, however often it is tried."""
    post.defer()
    rate = post.flow.rates()["celery"]
    assert (rate.incoming > 0, rate.outgoing) == (True, 0.0)


def test_the_last_answer_of_the_mail_server_is_known(post: Post) -> None:
    """Of accepted emails, of others with a reply; None where nobody has asked it lately."""
    hour = timedelta(hours=1)
    post.queue()
    assert post.flow.last_answer(since=post.now - hour) is None
    post.send()
    sent_at = post.now
    post.forward(60)
    found = post.flow.last_answer(since=post.now - hour)
    assert found == Answer(at=sent_at, state=State.SENT)
    post.defer()
    found = post.flow.last_answer(since=post.now - hour)
    assert found == Answer(at=post.now, state=State.DEFERRED)
    post.forward(3700)
    assert post.flow.last_answer(since=post.now - hour) is None


def test_rates_are_those_of_the_last_minutes(post: Post) -> None:
    """Older emails do not count, and a burst is not spread over the whole window."""
    for _ in range(3):
        post.send()
    post.forward(600)
    for _ in range(8):
        post.send()
    post.queue()
    post.forward(60)
    assert post.flow.rates() == {"celery": QueueRate(incoming=9.0, outgoing=8.0, idle_seconds=60.0)}
    post.forward(600)
    assert post.flow.rates() == {}


def test_workers_have_a_throughput(post: Post) -> None:
    """By their names, in the last minute and in the last five."""
    post.send("w1")
    post.forward(120)
    post.send("w1")
    post.send("w2")
    post.defer("w2")
    post.begin("w2")
    assert post.flow.throughput() == {
        "w1": Throughput(last_minute=1, last_five_minutes=2),
        "w2": Throughput(last_minute=1, last_five_minutes=1),
    }


def test_what_a_dead_worker_was_sending_is_not_counted_for_its_successor(post: Post) -> None:
    """Which has the same name, and was started after the claim."""
    started_at = post.now
    post.begin("w2")
    post.forward(1)
    first, successor = worker(started_at, name="w2"), worker(post.now, name="w2")
    assert post.flow.sending_by_worker([first]) == {"w2": 1}
    assert post.flow.sending_by_worker([successor]) == {}
    post.begin("w2")
    assert post.flow.sending_by_worker([successor]) == {"w2": 1}
    assert post.flow.sending_by_worker([]) == {}


def test_an_email_knows_how_many_are_before_it(post: Post) -> None:
    """Of its own queue, and those that are published before those that are not."""
    ids = [post.queue(), post.queue(queue="reports")]
    for _ in range(2):
        post.forward(1)
        ids.append(post.queue())
    post.forward(1)
    ids.append(post.add())
    post.add(in_seconds=60)
    assert [post.flow.count_ahead_of(post.email(email_id)) for email_id in ids] == [0, 0, 1, 2, 3]
    assert [email.id for email in post.flow.next_emails("celery", limit=3)] == [ids[0], ids[2], ids[3]]
    assert [email.id for email in post.flow.next_emails("celery", limit=9)] == [ids[0], *ids[2:]]


def test_keys_are_told_as_long_as_they_hold(post: Post) -> None:
    """What an idempotency key stands for, and which keys stand for an email."""
    since = post.now
    email_id = post.add(key="order-7")
    key = post.used_keys.find("order-7", now=since)
    assert key is not None
    assert (key.email_id, post.used_keys.find_by_email(email_id, now=since)) == (email_id, (key,))
    assert post.used_keys.find("order-7", now=since + 2 * LEASE) is None
