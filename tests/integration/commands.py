"""What commands do, run in this process, and emails in the states that commands meet."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import sqlalchemy

from mailctl import runtime
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.domain.models import Deferral
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import State
from mailctl.smtp.classify import classify_reply

LOST = Outcome(kind=OutcomeKind.AMBIGUOUS, reply=SmtpReply(text="timed out"), stage="body")
REFUSED = Outcome(kind=OutcomeKind.REFUSED, reply=SmtpReply(code=550, enhanced="5.7.1", text="blocked"))
DEAD = classify_reply(550, "5.1.1 no such user", stage="rcpt")


class Ran:
    """What a command did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The objects that it printed."""
        return [json.loads(line) for line in self.out.splitlines()]


Mailctl = Callable[..., Ran]


def send(mailctl: Mailctl, *arguments: str) -> str:
    """Record an email and return its id."""
    return str(mailctl("send", *arguments, "--json").lines[0]["task_id"])


def welcome(mailctl: Mailctl, address: str = "zoe@example.com") -> str:
    """Record a welcome."""
    return send(mailctl, "welcome", "--email", address)


def refusal(outcome: Outcome) -> Reason:
    """Return why an email failed that a mail server refused."""
    return Reason(code=ReasonCode.REFUSED, text=f"refused: {outcome}")


def fail(email_id: str, outcome: Outcome, *, state: State = State.FAILED) -> None:
    """Let a worker try an email, and record what became of it."""
    parts = runtime.current()
    [claim] = parts.claims.claim([email_id], worker="w@host").claims
    if outcome is LOST:
        parts.attempt_results.defer(Deferral(claim=claim, until=claim.created_at, outcome=outcome))
        [claim] = parts.claims.claim([email_id], worker="w@host").claims
    parts.attempt_results.finish(claim, state, outcome=outcome, reason=refusal(outcome))
    runtime.close()


def state_of(mailctl: Mailctl, email_id: str) -> str:
    """Return where an email stands."""
    return str(mailctl("status", email_id, "--json").lines[0]["state"])


def execute_sql(url: str, *statements: str) -> None:
    """Run statements on a database, in one transaction."""
    engine = sqlalchemy.create_engine(parse_url(url, setting="X"))
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sqlalchemy.text(statement))
    engine.dispose()
