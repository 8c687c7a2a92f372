"""Emails are claimed by one worker at a time, however many wait."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import event

from mailctl.delivery_log.claims import Claims
from mailctl.delivery_log.storage.engine import open_engine
from mailctl.delivery_log.storage.schema_version import upgrade
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.domain.catalog import CANARY, WELCOME
from mailctl.domain.factory import make_content, make_drafts, make_user
from mailctl.domain.models import Deferral, SentClaim
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.security.keyring import Keyring
from tests.integration.delivery_log.conftest import KEYRING, LEASE, START, Log

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path


SENT = Outcome(kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text="queued"), stage="body")
LATER = Outcome(kind=OutcomeKind.DEFERRED, reply=SmtpReply(code=451, text="later"), stage="rcpt")


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
            log.results.defer(Deferral(claim=claim, until=until, outcome=LATER, counts_as_attempt=counts))
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
        log.results.defer(Deferral(claim=retried, until=until, outcome=LATER))
        log.clock.forward(hours=-1)
        assert log.publications.reserve_due(limit=9) == []
        assert log.recovery.correct_future_times(longest=LEASE) == 3
        assert len(log.publications.reserve_due(limit=9)) == 2
        log.clock.forward(seconds=61)
        assert log.recovery.release_stale(max_resends=2) == 1
        assert log.history.find(scheduled.id)[0].due_at == START + timedelta(hours=5)

    def test_a_key_that_nobody_knows_defers_it(self, log: Log) -> None:
        """The operator has to correct it, and it is no attempt of the email."""
        email_id = log.queue()
        assert log.claim(email_id, worker="w", keyring=Keyring(["quite-another-secret-key"])) is None
        [email] = log.history.find(email_id)
        assert (email.state, email.attempts) == (State.DEFERRED, 0)


class TestBacklog:
    """On SQLite, which counts its own steps."""

    def test_emails_are_found_by_their_ids_however_many_wait(self, tmp_path: Path) -> None:
        """A batch's way, and a look for what got stuck, cost the same at twenty times the backlog."""
        few, many = (_steps_of_a_batch(tmp_path / f"{backlog}.db", backlog) for backlog in (200, 4000))
        assert few.keys() == {"publish", "take", "finish", "give back", "repair"}
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
    part = "repair"
    for _ in range(20):  # each takes less than a hundred steps
        log.recovery.release_stale(max_resends=2)
        log.recovery.expire()
        log.recovery.return_orphans(alive=[])
    engine.dispose()
    assert (len(taken), lost) == (50, [])
    del steps["fill"]
    return dict(steps)
