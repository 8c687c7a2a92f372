"""Each question that a relay or an operator asks again and again is answered by an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from mailctl.delivery_log.campaigns import Campaigns
from mailctl.delivery_log.claims import Claims
from mailctl.delivery_log.due import GroupableEmails
from mailctl.delivery_log.own_task_claims import OwnTaskClaims
from mailctl.delivery_log.pauses import Pauses, PauseScope
from mailctl.delivery_log.queries.search import EmailFilter, search
from mailctl.domain.models import SentClaim
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.states import State
from tests.integration.delivery_log.conftest import KEYRING, LEASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.delivery_log.conftest import Log

GROUPABLE = GroupableEmails(queues=frozenset({"celery"}))
SENT = Outcome(kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text="Ok"), stage="body")


@pytest.fixture
def plans(log: Log) -> Iterator[list[str]]:
    """The plans of all statements on emails; on PostgreSQL those that it has if no table may be scanned."""
    found: list[str] = []
    explain = "EXPLAIN QUERY PLAN" if log.engine.dialect.name == "sqlite" else "EXPLAIN"

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, _: Any, is_many: bool) -> None:
        if "mailctl_emails" in statement and statement.startswith(("SELECT", "UPDATE")) and not is_many:
            asked = connection.connection.cursor()
            if explain == "EXPLAIN":
                asked.execute("SET LOCAL enable_seqscan = off")
            asked.execute(f"{explain} {statement}", parameters)
            found.append("\n".join(str(row[-1]) for row in asked.fetchall()))

    event.listen(log.engine, "before_cursor_execute", note)
    yield found
    event.remove(log.engine, "before_cursor_execute", note)


def find_by(**wanted: str) -> Callable[[Log], object]:
    return lambda log: search(log.engine, EmailFilter(**wanted), limit=10)


QUESTIONS: dict[str, tuple[Callable[[Log], object], str]] = {
    "is an email due": (lambda log: log.publications.has_due(), "mailctl_emails_due"),
    "which are due": (lambda log: log.publications.reserve_due(limit=9), "mailctl_emails_due"),
    "which travel in a group": (
        lambda log: log.publications.take_group(GROUPABLE, limit=9),
        "mailctl_emails_due",
    ),
    "which of them are security emails": (
        lambda log: log.publications.take_group(GROUPABLE, limit=9),
        "mailctl_emails_security",
    ),
    "which campaigns wait": (
        lambda log: Campaigns(log.engine, log.outbox, clock=log.clock).has_due(),
        "mailctl_emails_campaign_due",
    ),
    "which leases have ended": (
        lambda log: log.recovery.release_stale(max_resends=2),
        "mailctl_emails_state",
    ),
    "which were begun by processes that have died": (
        lambda log: log.recovery.release_of_dead_processes(list_alive=tuple, max_resends=2),
        "mailctl_emails_state",
    ),
    "which leases of own tasks have ended": (
        lambda log: OwnTaskClaims(log.engine, KEYRING, lease=LEASE, clock=log.clock).hold_stale(),
        "mailctl_emails_state",
    ),
    "which expire": (lambda log: log.recovery.expire(), "mailctl_emails_expiry"),
    "which are of a campaign": (find_by(campaign="spring"), "mailctl_emails_campaign"),
    "which are of a user": (find_by(user_id="7"), "mailctl_emails_user"),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_index_answers(log: Log, plans: list[str], question: str) -> None:
    """An email is in few of them, so it is easily forgotten that a statement needs one.

    Which of several PostgreSQL takes depends on how many emails there are.
    """
    ask, index = QUESTIONS[question]
    ask(log)
    is_sqlite = log.engine.dialect.name == "sqlite"
    assert not is_sqlite or any(f"INDEX {index} (" in plan for plan in plans), plans
    assert plans
    assert not any("SCAN mailctl_emails" in plan or "Seq Scan on mailctl_emails" in plan for plan in plans)


def test_emails_that_a_worker_names_are_found_by_their_ids(log: Log, plans: list[str]) -> None:
    """Whatever else a statement asks of them."""
    email_ids = [log.add() for _ in range(3)]
    log.publications.mark_queued(email_ids)
    owner = Claims(log.engine, KEYRING, lease=LEASE, clock=log.clock)
    claims = owner.claim(email_ids, worker="w@host").claims
    owner.extend(claims)
    log.results.finish_sent(
        [SentClaim(claim=each, state=State.SENT, outcome=SENT, message_id="<1@x>") for each in claims]
    )
    assert len(plans) >= len(["mark_queued", "claim", "extend", "finish_sent"])
    assert not any("SCAN mailctl_emails" in plan or "Seq Scan on mailctl_emails" in plan for plan in plans)


def test_paused_emails_are_parked_by_the_index_of_due_ones(log: Log, plans: list[str]) -> None:
    """A long backlog may be paused."""
    pauses = Pauses(log.engine, clock=log.clock)
    log.add()
    pauses.pause(PauseScope.QUEUE, "celery", actor="ada", reason="")
    pauses.park()
    is_sqlite = log.engine.dialect.name == "sqlite"
    assert not is_sqlite or any("INDEX mailctl_emails_due (" in plan for plan in plans), plans
    assert not any("Seq Scan on mailctl_emails" in plan for plan in plans)


def test_a_sent_email_is_in_few_indices(log: Log) -> None:
    """Each of them is written again at every change of state."""
    if log.engine.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL tells how many entries an index has")
    email_id = log.add()
    claim = log.claim(email_id, worker="w@host")
    assert claim is not None
    log.results.finish_sent([SentClaim(claim=claim, state=State.SENT, outcome=SENT, message_id="<1@x>")])
    with log.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM mailctl_emails"))
        connection.execute(text("ANALYZE mailctl_emails"))
        entries = connection.execute(
            text(
                "SELECT relname, reltuples FROM pg_class JOIN pg_index ON indexrelid = pg_class.oid"
                " WHERE indrelid = 'mailctl_emails'::regclass"
            )
        )
        having = {name for name, count in entries if count > 0}
    assert having == {
        "mailctl_emails_pkey",
        "mailctl_emails_id_key",
        "mailctl_emails_state",
        "mailctl_emails_created",
        "mailctl_emails_mailbox",
    }
