"""Rows of versions that had only wording get codes, stages and columns of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import column, insert, table

from mailctl.delivery_log.circuits import read_circuits
from mailctl.delivery_log.operator_actions import ActionFacts, OperatorActions
from mailctl.delivery_log.queries.lookups import EmailLookups
from mailctl.delivery_log.queries.search import EmailFilter, search
from mailctl.delivery_log.storage.engine import open_engine, writing
from mailctl.delivery_log.storage.schema_version import upgrade
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.delivery_log.storage.utc_time import UtcDateTime
from mailctl.domain.reason_codes import ReasonCode
from tests.emails import NOW
from tests.integration.older_logs import migrate
from tests.old_emails import OLD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from mailctl.domain.models import Email, Event

_TIMES = ("created_at", "updated_at", "due_at")
_EMAIL_NAMES = ("id", "kind", "state", "queue", "to_address", "attempts", "error", "smtp_text", "content")
_EMAILS: Any = table(
    "mailctl_emails",
    *(column(name) for name in _EMAIL_NAMES),
    *(column(name, UtcDateTime) for name in _TIMES),
)
_EVENTS: Any = table(
    "mailctl_events",
    *(column(name) for name in ("email_id", "state", "attempt", "text", "actor")),
    column("at", UtcDateTime),
)
_CIRCUITS: Any = table(
    "mailctl_circuits",
    *(column(name) for name in ("server", "failures", "probes", "reason")),
    column("since", UtcDateTime),
    column("probe_at", UtcDateTime),
)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A delivery log of the version before reason codes, upgraded with old rows in it."""
    url = f"sqlite:///{tmp_path / 'mailctl.db'}"
    if request.param == "postgresql":
        url = str(request.getfixturevalue("postgres_url"))
    engine = open_engine(parse_url(url, setting="X"), setting="X")
    migrate(engine, "0006")
    _insert_old_rows(engine)
    upgrade(engine)
    yield engine
    engine.dispose()


def _insert_old_rows(engine: Engine) -> None:
    common = dict.fromkeys(_TIMES, NOW) | {"queue": "celery", "to_address": "zoe@example.com"}
    with writing(engine) as connection:
        for old in OLD:
            row = {name: getattr(old, name) for name in _EMAIL_NAMES if hasattr(old, name)}
            connection.execute(insert(_EMAILS).values(**common, **row))
            for state, text, actor, *_ in old.events:
                event = {"state": state, "text": text, "actor": actor, "at": NOW, "attempt": old.attempts}
                connection.execute(insert(_EVENTS).values(email_id=old.id, **event))
        for server, reason in (("a:25", "at tls: no certificate"), ("b:25", "its door is shut")):
            circuit = {"server": server, "reason": reason, "failures": 3, "probes": 0}
            connection.execute(insert(_CIRCUITS).values(**circuit, since=NOW, probe_at=NOW))


def _emails(engine: Engine) -> dict[str, Email]:
    return {email.id: email for email in EmailLookups(engine).emails([old.id for old in OLD])}


def test_old_emails_get_codes(engine: Engine) -> None:
    """By what their errors say; those that have none get none, and every text stays as it was."""
    found = _emails(engine)
    assert {old.id: found[old.id].reason_code for old in OLD} == {old.id: old.expected for old in OLD}
    assert {old.id: found[old.id].error for old in OLD} == {old.id: old.error for old in OLD}


def test_old_events_get_codes_and_stages(engine: Engine) -> None:
    """By what they say; texts in an operator's words are not mistaken for others."""
    lookups = EmailLookups(engine)

    def told(event: Event) -> tuple[Any, ...]:
        return (event.state, event.text, event.actor, event.reason_code, event.stage)

    def events(email_id: str) -> list[tuple[Any, ...]]:
        # A later migration adds an event of this code.
        found = (
            event for event in lookups.events(email_id) if event.reason_code is not ReasonCode.OTHER_WORKER
        )
        return [told(event) for event in found]

    found = {old.id: events(old.id) for old in OLD}
    assert found == {old.id: old.events for old in OLD}


def test_old_facts_move_into_columns(engine: Engine) -> None:
    """What was sealed in prose: the resend, the captured file, the doubt, the stage of a circuit."""
    found = _emails(engine)
    assert {email.id: email.resent_as for email in found.values() if email.resent_as} == {"resent": "new-1"}
    captured = {email.id: email.captured_file for email in found.values() if email.captured_file}
    assert captured == {"captured": "/home/mail/x.eml"}
    texts = {email.id: email.reply.text for email in found.values() if email.reply.text}
    assert texts == {"sent": "queued as 7"}
    assert {circuit.server: circuit.stage for circuit in read_circuits(engine)} == {
        "a:25": "tls",
        "b:25": None,
    }


def test_old_bulk_actions_can_be_undone(engine: Engine) -> None:
    """By the id that their texts told, wherever an operator's own words repeat it."""
    found = {
        stopped_by: [email.id for email in search(engine, EmailFilter(stopped_by=stopped_by), limit=9).emails]
        for stopped_by in ("purge-1a2b3c", "hold-0a1b2c")
    }
    assert found == {"purge-1a2b3c": ["cancelled"], "hold-0a1b2c": ["held-for-a-reason"]}


def test_old_doubts_and_resends_are_known_to_operators(engine: Engine) -> None:
    """They ask columns, and get the answers that the wording gave before."""
    no_outbox: Any = None
    facts: ActionFacts = OperatorActions(engine, no_outbox).read_facts([old.id for old in OLD])
    assert facts.maybe_sent == {"lost", "no-reply", "workers", "in-doubt", "too-late"}
    assert facts.resent == {"resent"}
