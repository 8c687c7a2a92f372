"""A delivery log in a SQLite file, without migrations, at a time that the test sets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.attempt_results import AttemptResults
from mailctl.delivery_log.claims import Claims
from mailctl.delivery_log.operator_actions import OperatorActions
from mailctl.delivery_log.outbox import Outbox
from mailctl.delivery_log.publications import Publications
from mailctl.delivery_log.queries.lookups import EmailLookups
from mailctl.delivery_log.recovery import Recovery
from mailctl.delivery_log.rule_enforcement import Rules
from mailctl.delivery_log.storage.engine import open_engine, writing
from mailctl.delivery_log.storage.tables import emails, metadata
from mailctl.delivery_log.storage.urls import sqlite_url
from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import Content, Deferral, User
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.request import EmailRequest
from mailctl.security.keyring import Keyring
from tests.emails import NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Engine

    from mailctl.delivery_log.shared_transactions import SharedTransactions
    from mailctl.domain.models import Claim, Draft, Email, Event
    from mailctl.domain.rate_limits import RateLimits

KEYRING = Keyring(["a-secret-key-for-tests"])
LEASE = timedelta(minutes=1)
REFUSED = Outcome(
    kind=OutcomeKind.REFUSED, reply=SmtpReply(code=550, enhanced="5.1.1", text="no"), stage="rcpt"
)
LATER = Outcome(kind=OutcomeKind.DEFERRED, reply=SmtpReply(code=451, text="later"), stage="mail")
NO_REPLY = Outcome(kind=OutcomeKind.AMBIGUOUS, reply=SmtpReply(text="timed out"), stage="body")
SENT = Outcome(kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text="ok"), stage="body")


class Log:
    """The parts of a delivery log that tests use, with one clock."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.now = NOW
        self.outbox = self.outbox_with()
        self.publications = Publications(engine, clock=self.time)
        self.claims = Claims(engine, KEYRING, lease=LEASE, clock=self.time)
        self.results = AttemptResults(engine, clock=self.time)
        self.recovery = Recovery(engine, clock=self.time)
        self.actions = OperatorActions(engine, self.outbox, clock=self.time)
        self.lookups = EmailLookups(engine)

    def time(self) -> datetime:
        """Return the time that the test has set."""
        return self.now

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def outbox_with(self, limits: RateLimits | None = None) -> Outbox:
        """Return an outbox with some limits."""
        window = timedelta(days=1)
        return Outbox(self.engine, KEYRING, idempotency_window=window, rules=Rules(limits), clock=self.time)

    def draft(
        self,
        address: str = "Zoe@Example.com",
        user_id: str | None = None,
        first_id: str | None = None,
        **more: Any,
    ) -> Draft:
        """Return an email that is about to be recorded."""
        content = Content(user=User(email=address, id=user_id))
        request = EmailRequest(kind=WELCOME, **more)
        return make_drafts(request, [content], queue="celery", now=self.now, first_id=first_id)[0]

    def add(self, address: str = "Zoe@Example.com", **more: Any) -> str:
        """Record an email that is due, and return its id."""
        return self.outbox.add([self.draft(address, **more)], due_at=self.now).id

    def queue(self, **more: Any) -> str:
        """Record an email that is on the broker, and return its id."""
        email_id = self.add(**more)
        self.publications.mark_queued([email_id])
        return email_id

    def claim(self, email_id: str, worker: str = "w") -> Claim:
        """Claim an email."""
        [claim] = self.claims.claim([email_id], worker=worker).claims
        return claim

    def defer(self, claim: Claim, outcome: Outcome, *, seconds: float = 60, counts: bool = True) -> bool:
        """Record that an email is tried again after some seconds."""
        deferral = Deferral(
            claim=claim,
            until=self.now + timedelta(seconds=seconds),
            outcome=outcome,
            counts_as_attempt=counts,
            message_id="<m@example.com>",
        )
        return not self.results.defer(deferral)

    def change(self, email_id: str, **values: Any) -> None:
        """Set columns of an email."""
        with writing(self.engine) as connection:
            connection.execute(emails.update().where(emails.c.id == email_id).values(**values))

    def email(self, email_id: str) -> Email:
        """Return an email as it is now."""
        [found] = self.lookups.emails([email_id])
        return found

    @contextmanager
    def called_together(
        self, transactions: SharedTransactions[Any, Any], first: Callable[[], object]
    ) -> Iterator[Callable[..., Future[Any]]]:
        """Make calls that share the next transaction, because a first one can end only after the block.

        Args:
            transactions: which the calls use.
            first: makes that call.

        Yields:
            Submits a call, and returns its future when the call waits for its transaction.
        """
        with ThreadPoolExecutor(16) as threads, self.engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")  # locks the log
            threads.submit(first)
            while not transactions._is_writing or transactions._waiting:
                pass
            calls = count(1)

            def submit(*arguments: Any, **more: Any) -> Future[Any]:
                waiting, future = next(calls), threads.submit(*arguments, **more)
                while len(transactions._waiting) < waiting:
                    pass
                return future

            yield submit

    def last_event(self, email_id: str) -> Event:
        """Return the latest event of an email."""
        return self.lookups.events(email_id)[-1]

    def maybe_sent(self, email_id: str) -> bool:
        """Whether the mail server may have accepted an email."""
        return email_id in self.actions.read_facts([email_id]).maybe_sent


@pytest.fixture(scope="session")
def empty_log_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A log without emails, which costs less to copy than to create."""
    path = tmp_path_factory.mktemp("log") / "mailctl.db"
    engine = open_engine(sqlite_url(path), setting="X")
    with writing(engine) as connection:
        metadata.create_all(connection)
    # The last connection leaves the log in a single file.
    engine.dispose()
    return path.read_bytes()


@pytest.fixture
def engine(tmp_path: Path, empty_log_file: bytes) -> Iterator[Engine]:
    """An engine on an empty log."""
    path = tmp_path / "mailctl.db"
    path.write_bytes(empty_log_file)
    engine = open_engine(sqlite_url(path), setting="X")
    yield engine
    engine.dispose()


@pytest.fixture
def log(engine: Engine) -> Log:
    """The parts of an empty log."""
    return Log(engine)
