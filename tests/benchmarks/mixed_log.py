"""A log of 100,000 mixed emails, with their events, suppressions, pauses and campaigns."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from mailctl.delivery_log.storage import tables
from mailctl.delivery_log.storage.encryption import RowIdentity, seal
from mailctl.domain.models import Content, User
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import FINAL_STATES, SENT_OR_CAPTURED, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.runtime import Runtime


#: One row for all contents, which nobody opens.
_ROW = RowIdentity(id="any", kind="welcome", recipient="zoe@example.com", expires_at=None)
EMAILS, CHUNK, SEED = 100_000, 5_000, 5
#: Hours over which the emails are spread.
HOURS = 72
KINDS = ("welcome", "reset", "verification", "new-ip", "email")
QUEUES = ("celery", "celery", "celery", "billing", "mailctl.bulk")
CAMPAIGNS = ("spring-2026", "a-campaign-with-a-rather-long-name-that-somebody-chose")
DOMAINS = ("example.com", "example.org", "mail.example.net", "a-very-long-company-name.example.com")
STATES = {
    State.SENT: 780,
    State.CAPTURED: 20,
    State.FAILED: 60,
    State.EXPIRED: 20,
    State.CANCELLED: 20,
    State.SUPPRESSED: 20,
    State.HELD: 10,
    State.DEFERRED: 20,
    State.PENDING: 29,
    State.QUEUED: 20,
    State.SENDING: 1,
}
REFUSALS = (
    (
        550,
        "5.1.1",
        "The email account that you tried to reach does not exist. Please try double-checking it.",
    ),
    (550, "5.7.1", "Our system has detected that this message is likely unsolicited mail"),
    (552, "5.2.2", "Mailbox full"),
    (554, None, "Transaction failed: blocked using zen.blocklist.example; see https://example.com/lookup"),
)


def fill(runtime: Runtime) -> None:
    """Record the emails, their events, and what else a log has."""
    chance, now = random.Random(SEED), datetime.now(UTC)
    content = seal(Content(user=User(email="zoe@example.com", first_name="Zoe")), runtime.keyring, _ROW)
    states = chance.choices(list(STATES), weights=list(STATES.values()), k=EMAILS)
    emails = [_email(number, state, content, chance, now) for number, state in enumerate(states)]
    emails.sort(key=lambda row: row["created_at"])
    for start in range(0, EMAILS, CHUNK):
        rows = emails[start : start + CHUNK]
        with runtime.engine.begin() as connection:
            connection.execute(insert(tables.emails), rows)
            connection.execute(insert(tables.events), [event for row in rows for event in _events(row)])
    with runtime.engine.begin() as connection:
        connection.execute(
            insert(tables.suppressions), [_suppression(number, now) for number in range(2_000)]
        )
        pauses = (("queue", "billing", "the provider moves"), ("kind", "new-ip", ""))
        for scope, name, reason in pauses:
            row = {"scope": scope, "name": name, "reason": reason, "actor": "ada@desk", "since": now}
            connection.execute(insert(tables.pauses), row)
        for name in CAMPAIGNS:
            campaign = {"id": name, "kind": "email", "rate": 50.0, "released_until": now, "created_at": now}
            connection.execute(insert(tables.campaigns), campaign)
    runtime.api_keys.create("on-call")


def _email(number: int, state: State, content: bytes, chance: random.Random, now: datetime) -> dict[str, Any]:
    # Emails that have not ended are young; the others are spread over all hours, fewer at night.
    age = timedelta(hours=HOURS * chance.random() if state in FINAL_STATES else chance.random() * 0.2)
    created = now - age
    queue = chance.choice(QUEUES)
    took = timedelta(seconds=min(chance.lognormvariate(0.5, 1.2), age.total_seconds()))
    has_ended, code = state in FINAL_STATES, None
    row: dict[str, Any] = {
        "id": f"{number * 2654435761 % 4294967296:08x}{str(uuid.UUID(int=chance.getrandbits(128)))[8:]}",
        "kind": "email" if queue == "mailctl.bulk" else chance.choice(KINDS),
        "state": state,
        "queue": queue,
        "to_address": f"user-{chance.randrange(50_000)}@{chance.choice(DOMAINS)}",
        "user_id": str(chance.randrange(50_000)),
        "content": None if state in (State.SENT, State.CAPTURED) else content,
        "attempts": 0 if state in (State.PENDING, State.QUEUED, State.HELD) else 1,
        "created_at": created,
        "updated_at": created + took,
        "due_at": created,
        "not_before": now + timedelta(minutes=chance.randrange(1, 15)) if state is State.DEFERRED else None,
        "queued_at": created if state is State.QUEUED else None,
        "sent_at": created + took if state in (State.SENT, State.CAPTURED) else None,
        "expires_at": created + timedelta(hours=24),
        "lease_until": now + timedelta(seconds=60) if state is State.SENDING else None,
        "worker": "celery@web-1" if has_ended or state is State.SENDING else None,
        "message_id": f"<{number}@example.com>" if has_ended else None,
        "campaign": chance.choice(CAMPAIGNS) if queue == "mailctl.bulk" else None,
        "smtp_code": code,
        "smtp_enhanced": None,
        "smtp_text": None,
        "error": None,
        "reason_code": None,
        "captured_file": ".mailctl/mail/20261124T043246Z-24f90160.eml" if state is State.CAPTURED else None,
    }
    if state is State.FAILED:
        reply = chance.choice(REFUSALS)
    elif state is State.DEFERRED:
        reply = (451, "4.7.1", "Greylisted, please come back in five minutes")
    elif state is State.SENT:
        reply = (250, "2.0.0", "OK")
    else:
        reply = None
    if reply is not None:
        row["smtp_code"], row["smtp_enhanced"], row["smtp_text"] = reply
        words = " ".join(str(part) for part in reply if part)
        if state not in SENT_OR_CAPTURED:
            code = ReasonCode.REFUSED if state is State.FAILED else ReasonCode.DEFERRED
            row |= {"error": f"at rcpt: {words}", "reason_code": code}
    if state is State.SUPPRESSED:
        row["error"] = "the address is suppressed: 550 5.1.1 no such user"
        row["reason_code"] = ReasonCode.SUPPRESSED_ADDRESS
    return row


def _events(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    event = {"email_id": row["id"], "at": row["created_at"], "attempt": 0, "worker": None, "code": None}
    yield {**event, "state": State.PENDING, "text": "recorded", "actor": None}
    if row["state"] is State.PENDING:
        return
    actor = "ada@desk" if row["state"] in (State.HELD, State.CANCELLED) else None
    text = row["error"] or ("the MX moves" if actor else "")
    yield {
        **event,
        "at": row["updated_at"],
        "state": row["state"],
        "text": text,
        "actor": actor,
        "attempt": row["attempts"],
        "worker": row["worker"],
        "code": row["smtp_code"],
    }


def _suppression(number: int, now: datetime) -> dict[str, Any]:
    is_bounce = number % 3 > 0
    return {
        "address": f"dead-{number}@example.com",
        "reason": "The email account that you tried to reach does not exist."
        if is_bounce
        else "asked for it",
        "source": "bounce" if is_bounce else "operator",
        "code": 550 if is_bounce else None,
        "enhanced": "5.1.1" if is_bounce else None,
        "actor": None if is_bounce else "ada@desk",
        "created_at": now - timedelta(minutes=number),
    }
