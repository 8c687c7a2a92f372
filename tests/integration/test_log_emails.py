"""The life of an email in the delivery log, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from mailctl.delivery_log.attempt_results import AttemptResults
from mailctl.delivery_log.circuits import Circuits
from mailctl.delivery_log.claims import Claims
from mailctl.delivery_log.outbox import Outbox
from mailctl.delivery_log.publications import Publications
from mailctl.delivery_log.queries.lookups import EmailLookups
from mailctl.delivery_log.recovery import Recovery
from mailctl.delivery_log.retention import PrunableCounts, Retention
from mailctl.delivery_log.storage.engine import open_engine
from mailctl.delivery_log.storage.schema_version import upgrade
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.domain.catalog import CANARY, RESET, WELCOME
from mailctl.domain.factory import make_content, make_drafts, make_user
from mailctl.domain.models import Outcome, OutcomeKind, SentClaim, SmtpReply, State
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.request import EmailRequest
from mailctl.errors import IdempotencyConflict
from mailctl.security.keyring import Keyring

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Claim, Draft

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)
KEYRING = Keyring(["a-secret-key-for-tests"])
SENT = Outcome(kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text="queued"), stage="body")
LATER = Outcome(kind=OutcomeKind.DEFERRED, reply=SmtpReply(code=451, text="later"), stage="rcpt")


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **length: float) -> datetime:
        """Let time go by."""
        self.now += timedelta(**length)
        return self.now


class Log:
    """A delivery log, all sides of it, at a time that the test sets."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.clock = Clock()
        self.outbox = self.outbox_with(KEYRING)
        self.publications = Publications(engine, clock=self.clock)
        self.circuits = Circuits(engine, server="smtp.example.com:587", clock=self.clock)
        self.results = AttemptResults(engine, clock=self.clock)
        self.recovery = Recovery(engine, clock=self.clock)
        self.history = EmailLookups(engine)

    def outbox_with(self, keyring: Keyring) -> Outbox:
        """Return the outbox of a process that knows these keys."""
        return Outbox(self.engine, keyring, idempotency_window=timedelta(days=1), clock=self.clock)

    def drafts(
        self,
        kind: Kind = WELCOME,
        *,
        email: str = "a@example.com",
        key: str | None = None,
        not_before: datetime | None = None,
    ) -> list[Draft]:
        """Return one email, ready to be recorded."""
        content = make_content(kind, make_user(email=email), origins=frozenset())
        now = self.clock.now
        return make_drafts(
            EmailRequest(kind=kind, idempotency_key=key, not_before=not_before),
            [content],
            queue="celery",
            now=now,
        )

    def add(self, kind: Kind = WELCOME, **more: Any) -> str:
        """Record an email that is due."""
        return self.outbox.add(self.drafts(kind, **more), due_at=self.clock.now).id

    def claim(self, email_id: str, *, worker: str, keyring: Keyring | None = None) -> Claim | None:
        """Take an email as a worker would."""
        claims = Claims(self.engine, keyring or KEYRING, lease=LEASE, clock=self.clock)
        taken = claims.claim([email_id], worker=worker).claims
        return taken[0] if taken else None

    def extend(self, claim: Claim) -> bool:
        """Prolong a lease; return whether that did anything."""
        before = self.history.find(claim.id)[0].lease_until
        Claims(self.engine, KEYRING, lease=LEASE, clock=self.clock).extend([claim])
        return self.history.find(claim.id)[0].lease_until != before

    def queue(self) -> str:
        """Record an email and say that it is on the broker."""
        email_id = self.add()
        self.publications.mark_queued([email_id])
        return email_id

    def state(self, email_id: str) -> State:
        """Return where an email stands."""
        return self.history.find(email_id)[0].state

    def story(self, email_id: str) -> list[str]:
        """Return the states that an email went through."""
        return [str(event.state) for event in self.history.events(email_id)]


@pytest.fixture(params=["sqlite", "postgresql"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    """An empty delivery log."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'log.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    engine = open_engine(parse_url(url, setting="MAILCTL_DATABASE_URL"), setting="MAILCTL_DATABASE_URL")
    upgrade(engine)
    yield Log(engine)
    engine.dispose()


class TestRecording:
    def test_an_email_is_pending_and_sealed(self, log: Log) -> None:
        """Its address is a column; what it is made of cannot be read without the key."""
        email_id = log.add(email="zoe@example.com")
        [email] = log.history.find(email_id)
        assert (email.state, email.to, log.story(email_id)) == (State.PENDING, "zoe@example.com", ["pending"])
        with log.engine.connect() as connection:
            sealed = connection.exec_driver_sql("SELECT content FROM mailctl_emails").scalar()
        assert b"zoe" not in bytes(sealed)

    def test_a_prefix_of_the_id_finds_it(self, log: Log) -> None:
        """As with a commit of git."""
        email_id = log.add()
        assert [email.id for email in log.history.find(email_id[:8])] == [email_id]
        assert log.history.find("zzz") == []

    def test_a_short_id_is_as_long_as_it_has_to_be(self, log: Log) -> None:
        """It is no start of another id in the log, whether that is an id of ours or of another program."""
        ids = ["0f3a77c1-2222", "0f3a77c1-2d00", "0f3a77c1-9", "5b6d19e0-0000", "Job/1", "Job/10", "ünïque-1"]
        for each in ids:
            [draft] = log.drafts()
            log.outbox.add([replace(draft, id=each)], due_at=log.clock.now)
        short = log.history.short_ids([*ids, "elsewhere-on-the-broker"])
        assert list(short.values()) == [
            "0f3a77c1-22",
            "0f3a77c1-2d",
            "0f3a77c1-9",
            "5b6d19e0",
            "Job/1",
            "Job/10",
            "ünïque-1",
            "elsewhere-on-the-broker",
        ]
        for each in ids:
            assert [email.id for email in log.history.find(short[each])] == [each]

    def test_a_key_is_one_email(self, log: Log) -> None:
        """The second call gets the first id, and the log one row."""
        first = log.add(key="order-1")
        assert log.add(key="order-1") == first
        assert log.history.count_by_state() == {State.PENDING: 1}

    def test_a_key_is_forgotten_after_its_window(self, log: Log) -> None:
        """A day here; then it stands for a new email."""
        first = log.add(key="order-1")
        log.clock.forward(days=1, seconds=1)
        assert log.add(key="order-1") != first

    def test_a_key_with_other_content_is_refused(self, log: Log) -> None:
        """It would be a mistake to send either."""
        log.add(key="order-1")
        with pytest.raises(IdempotencyConflict):
            log.add(key="order-1", email="b@example.com")

    def test_many_callers_with_one_key_record_one_email(self, log: Log) -> None:
        """They wait for each other; all get the same id."""
        together = threading.Barrier(16)

        def add(_: int) -> str:
            together.wait()
            return log.add(key="order-1")

        with ThreadPoolExecutor(16) as callers:
            ids = set(callers.map(add, range(16)))
        assert (len(ids), log.history.count_by_state()) == (1, {State.PENDING: 1})

    def test_a_message_of_another_program_is_adopted_once(self, log: Log) -> None:
        """Redelivered, it finds its row."""
        drafts = log.drafts()
        log.outbox.record_from_message(drafts)
        log.outbox.record_from_message(drafts)
        assert log.story(drafts[0].id) == ["queued"]

    def test_a_message_that_can_never_be_an_email_is_failed(self, log: Log) -> None:
        """With its reason."""
        [draft] = log.drafts()
        log.outbox.record_failed_message(draft, reason="no recipient")
        [email] = log.history.find(draft.id)
        assert (email.state, email.error) == (State.FAILED, "no recipient")


class TestPublishing:
    def test_a_due_email_is_reserved_by_one_relay(self, log: Log) -> None:
        """Another gets it only after some seconds, should the first have died."""
        email_id = log.add()
        assert [email.id for email in log.publications.reserve_due(limit=10)] == [email_id]
        assert log.publications.reserve_due(limit=10) == []
        log.clock.forward(seconds=6)
        assert len(log.publications.reserve_due(limit=10)) == 1

    def test_relays_share_what_is_due(self, log: Log) -> None:
        """Each email goes to one of them, none to nobody."""
        ids = {log.add() for _ in range(40)}
        with ThreadPoolExecutor(4) as relays:
            shares = list(relays.map(lambda _: log.publications.reserve_due(limit=20), range(4)))
        reserved = [email.id for share in shares for email in share]
        assert len(reserved) == len(set(reserved))
        log.clock.forward(seconds=6)
        reserved += [
            email.id for email in log.publications.reserve_due(limit=100) if email.id not in reserved
        ]
        assert set(reserved) == ids

    def test_a_scheduled_email_is_not_due(self, log: Log) -> None:
        """Until its time comes; and nobody may claim it either."""
        [draft] = make_drafts(
            EmailRequest(kind=WELCOME, not_before=START + timedelta(hours=1)),
            [make_content(WELCOME, make_user(email="a@example.com"), origins=frozenset())],
            queue="celery",
            now=START,
        )
        log.outbox.add([draft], due_at=START)
        assert log.publications.reserve_due(limit=1) == []
        assert log.claim(draft.id, worker="w") is None
        log.clock.forward(hours=1)
        assert log.claim(draft.id, worker="w") is not None


class TestClaiming:
    def test_one_claim_wins(self, log: Log) -> None:
        """However many workers have its message."""
        email_id = log.queue()
        with ThreadPoolExecutor(8) as workers:
            claims = list(workers.map(lambda n: log.claim(email_id, worker=f"w{n}"), range(8)))
        assert sum(claim is not None for claim in claims) == 1

    def test_canaries_and_emails_are_claimed_apart(self, log: Log) -> None:
        """Whatever id a canary's message names, no email ends by it; nor does a canary as an email."""
        email_id = log.add()
        [draft] = log.drafts()
        canary = replace(draft, request=EmailRequest(kind=CANARY))
        canary_id = log.outbox.add([canary], due_at=log.clock.now).id
        claims = Claims(log.engine, KEYRING, lease=LEASE, clock=log.clock)
        ids = [email_id, canary_id]
        [claimed] = claims.claim(ids, worker="w", are_canaries=True).claims
        assert (claimed.id, log.state(email_id)) == (canary_id, State.PENDING)
        [email] = claims.claim(ids, worker="w").claims
        assert email.id == email_id

    def test_what_was_sent_is_scrubbed_and_never_claimed_again(self, log: Log) -> None:
        """A message that comes twice is acknowledged and nothing else."""
        email_id = log.queue()
        claim = log.claim(email_id, worker="w")
        assert claim is not None
        assert log.results.finish(claim, State.SENT, outcome=SENT, message_id="<m@example.com>")
        assert log.claim(email_id, worker="w") is None
        assert log.outbox.content(email_id) is None
        assert log.story(email_id) == ["pending", "queued", "sending", "sent"]

    def test_a_deferred_email_waits_for_its_time(self, log: Log) -> None:
        """The attempt counts, unless it was the server's fault."""
        email_id = log.queue()
        for counts, attempts in ((True, 1), (False, 1)):
            claim = log.claim(email_id, worker="w")
            assert claim is not None
            until = log.clock.now + timedelta(seconds=30)
            log.results.defer(claim, until=until, outcome=LATER, counts_as_attempt=counts, message_id=None)
            assert log.claim(email_id, worker="w") is None
            assert log.history.find(email_id)[0].attempts == attempts
            log.clock.forward(seconds=30)

    def test_a_claim_that_ran_out_records_nothing(self, log: Log) -> None:
        """Somebody else has the email then."""
        email_id = log.queue()
        late = log.claim(email_id, worker="late")
        assert late is not None
        log.clock.forward(seconds=61)
        assert log.recovery.release_stale(max_resends=2) == 1
        assert not log.results.finish(late, State.SENT, outcome=SENT)
        assert not log.extend(late)
        assert log.claim(email_id, worker="next") is not None

    def test_a_lease_that_is_prolonged_holds(self, log: Log) -> None:
        """A slow mail server is no dead worker."""
        claim = log.claim(log.queue(), worker="w")
        assert claim is not None
        log.clock.forward(seconds=50)
        assert log.extend(claim)
        log.clock.forward(seconds=50)
        assert log.recovery.release_stale(max_resends=2) == 0

    def test_a_clock_that_was_ahead_keeps_nothing_waiting(self, log: Log) -> None:
        """Leases, retries and reservations of that time come back; what was scheduled for a time stays."""
        [scheduled] = log.drafts(not_before=START + timedelta(hours=5))
        log.outbox.add([scheduled], due_at=START)
        log.clock.forward(hours=1)
        in_hand = log.claim(log.queue(), worker="w")
        retried = log.claim(log.queue(), worker="w")
        log.add()
        assert in_hand is not None
        assert retried is not None
        until = log.clock.now + timedelta(seconds=30)
        log.results.defer(retried, until=until, outcome=LATER, counts_as_attempt=True, message_id=None)
        log.clock.forward(hours=-1)
        assert log.publications.reserve_due(limit=9) == []
        assert log.recovery.correct_future_times(longest=LEASE) == 3
        assert len(log.publications.reserve_due(limit=9)) == 2
        log.clock.forward(seconds=61)
        assert log.recovery.release_stale(max_resends=2) == 1
        assert log.history.find(scheduled.id)[0].due_at == START + timedelta(hours=5)

    def test_a_key_that_nobody_knows_defers_it(self, log: Log) -> None:
        """It is the operator's to mend, and no attempt of the email's."""
        email_id = log.queue()
        assert log.claim(email_id, worker="w", keyring=Keyring(["quite-another-secret-key"])) is None
        [email] = log.history.find(email_id)
        assert (email.state, email.attempts) == (State.DEFERRED, 0)


class TestBacklog:
    """On SQLite, which counts its own steps."""

    def test_emails_are_found_by_their_ids_however_many_wait(self, tmp_path: Path) -> None:
        """A batch's way, and a look for what got stuck, cost the same at twenty times the backlog."""
        few, many = (_steps_of_a_batch(tmp_path / f"{backlog}.db", backlog) for backlog in (200, 4000))
        assert few.keys() == {"publish", "take", "finish", "give back", "mend"}
        assert all(many[name] < 1.5 * few[name] for name in few | many), (few, many)


def _steps_of_a_batch(path: Path, backlog: int) -> dict[str, int]:
    """Return how many hundreds of SQLite's steps each part of a batch's way takes."""
    engine = open_engine(parse_url(f"sqlite:///{path}", setting="url"), setting="url")
    steps: Counter[str] = Counter()
    part = "fill"

    @event.listens_for(engine, "connect")
    def _count(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_progress_handler(lambda: steps.update([part]), 100)

    upgrade(engine)
    log = Log(engine)
    claims = Claims(engine, KEYRING, lease=LEASE, clock=log.clock)
    content = make_content(WELCOME, make_user(email="a@example.com"), origins=frozenset())
    drafts = make_drafts(EmailRequest(kind=WELCOME), [content] * backlog, queue="bulk", now=START)
    log.outbox.add(drafts, due_at=START)
    ids = [draft.id for draft in drafts[:100]]
    log.publications.mark_queued([draft.id for draft in drafts[100:]])
    part = "publish"
    log.publications.mark_queued(ids)
    part = "take"
    taken = claims.claim(ids[:50], worker="w").claims
    part = "finish"
    lost = log.results.finish_sent(
        [SentClaim(claim=claim, state=State.SENT, outcome=SENT, message_id="<a@b>") for claim in taken]
    )
    part = "give back"
    claims.return_unstarted(ids[50:], reason="no time")
    part = "mend"
    for _ in range(20):  # each takes less than a hundred steps
        log.recovery.release_stale(max_resends=2)
        log.recovery.expire()
        log.recovery.return_orphans(alive=[])
    engine.dispose()
    assert (len(taken), lost) == (50, [])
    del steps["fill"]
    return dict(steps)


class TestMending:
    def test_a_dead_workers_email_may_be_held(self, log: Log) -> None:
        """Where a second copy is worse than none."""
        email_id = log.queue()
        log.claim(email_id, worker="w")
        log.clock.forward(seconds=61)
        log.recovery.release_stale(max_resends=0)
        assert log.state(email_id) is State.HELD

    def test_what_the_broker_lost_goes_back(self, log: Log) -> None:
        """First in, first out: only the last ones can still be there."""
        ids = []
        for _ in range(5):
            ids.append(log.queue())
            log.clock.forward(seconds=1)
        assert log.recovery.return_lost(queue="celery", queued_before=log.clock.now, on_broker=2) == 3
        assert [log.state(email_id) for email_id in ids] == [State.PENDING] * 3 + [State.QUEUED] * 2

    def test_what_was_published_just_now_is_not_lost(self, log: Log) -> None:
        """It takes a moment from the broker to a claim."""
        log.queue()
        assert log.recovery.return_lost(queue="celery", queued_before=START, on_broker=0) == 0

    def test_what_a_gone_worker_held_in_memory_goes_back(self, log: Log) -> None:
        """A memory broker dies with its process."""
        email_id = log.add()
        log.publications.mark_queued([email_id], worker_id="gone")
        assert log.recovery.return_orphans(alive=["gone"]) == 0
        assert log.recovery.return_orphans(alive=["other"]) == 1
        assert log.state(email_id) is State.PENDING

    def test_a_reset_that_is_too_old_expires(self, log: Log) -> None:
        """A dead link helps nobody, and the log says why."""
        email_id = log.add(RESET)
        log.clock.forward(hours=1)
        assert log.recovery.expire() == 1
        [email] = log.history.find(email_id)
        assert (email.state, email.reason_code) == (State.EXPIRED, ReasonCode.EXPIRED)


class TestForgetting:
    def test_contents_first_then_the_row(self, log: Log) -> None:
        """Finished emails only; what still has to go out stays, however old."""
        failed, waiting = log.queue(), log.add()
        claim = log.claim(failed, worker="w")
        assert claim is not None
        log.results.finish(claim, State.FAILED, reason=Reason(code=ReasonCode.REFUSED, text="refused"))
        retention = Retention(log.engine)
        end = log.clock.forward(days=100)
        found = retention.count(contents_before=end, emails_before=START)
        assert found == PrunableCounts(contents=1, emails=0, link_uses=0)
        assert list(retention.prune(contents_before=end, emails_before=START)) == [1]
        assert (log.state(failed), log.outbox.content(failed)) == (State.FAILED, None)
        assert list(retention.prune(contents_before=end, emails_before=end)) == [1]
        assert (log.history.find(failed), log.story(failed)) == ([], [])
        assert log.outbox.content(waiting) is not None


class TestCircuit:
    def test_it_opens_probes_and_closes(self, log: Log) -> None:
        """Three failures of the server; then one try at a time, at growing distances, until one works."""
        circuits = log.circuits
        assert circuits.read() is None
        opened = [circuits.record_failure("connection refused").is_open for _ in range(3)]
        assert opened == [False, False, True]
        assert not circuits.acquire_probe()
        log.clock.forward(seconds=11)
        assert circuits.acquire_probe()
        assert not circuits.acquire_probe()
        circuits.record_success()
        assert circuits.read() is None

    def test_a_message_that_overtakes_the_note_of_it_is_kept_back_too(self, log: Log) -> None:
        """A worker may be faster than the publisher, whose note comes late then."""
        email_id, until = log.add(), START + timedelta(seconds=10)
        assert log.circuits.postpone_email(email_id, until=until, reason="connection refused")
        assert log.publications.mark_queued([email_id]) == 0
        assert log.claim(email_id, worker="w") is None
        log.clock.forward(seconds=10)
        assert [email.id for email in log.publications.reserve_due(limit=1)] == [email_id]

    def test_a_scheduled_email_keeps_its_time(self, log: Log) -> None:
        """Though its message has come too early, while the server does not work."""
        [draft] = log.drafts(not_before=START + timedelta(hours=1))
        log.outbox.add([draft], due_at=START)
        assert not log.circuits.postpone_email(draft.id, until=START, reason="connection refused")
        log.circuits.record_success()
        assert log.claim(draft.id, worker="w") is None
