"""Circuit breakers: one for each mail server, shared by all workers of a log, open while the server fails.

While a circuit is open, one email at a time is tried as a probe: a dead server is not flooded, wrong
credentials do not lock an account, and no email uses up attempts because of the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, select, update

from mailctl.delivery_log.due import may_start
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import circuits, emails
from mailctl.delivery_log.transitions import (
    append_events,
    change_state,
    insert_or_ignore,
    reason_values,
)
from mailctl.domain.models import State
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

#: Consecutive failures of the server, not of single emails, that open the circuit.
FAILURES_TO_OPEN = 3
#: Seconds until the first probe; doubled with each probe that fails.
FIRST_PROBE_DELAY_SECONDS = 10.0
MAX_PROBE_DELAY_SECONDS = 300.0
#: Seconds that a probe may take before another worker may start one.
_PROBE_LEASE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """The state of the circuit to a mail server that has failed."""

    #: host:port.
    server: str
    failures: int
    #: Probes since it opened.
    probes: int
    #: What failed last, for people.
    reason: str
    #: The SMTP stage of that failure; None if it has none.
    stage: str | None = None
    since: datetime
    probe_at: datetime

    @property
    def is_open(self) -> bool:
        """Whether emails wait until the server works again."""
        return self.failures >= FAILURES_TO_OPEN

    def __str__(self) -> str:
        since = format_time(self.since, TimeStyle.SENTENCE_CLOCK)
        return f"the mail server {self.server} does not work since {since}: {self.reason}"


class Circuits(Repository):
    """Counts failures of a mail server, decides which worker may probe it, and keeps emails back meanwhile.

    Args:
        engine: of the delivery log's database, with the current schema.
        server: host:port of the mail server.
        clock: returns the current time, aware; None takes the clock of the log.
    """

    def __init__(self, engine: Engine, server: str, *, clock: Callable[[], datetime] | None = None) -> None:
        super().__init__(engine, clock=clock)
        self._server = server

    def read(self) -> Circuit | None:
        """Return the circuit to the server; None if no failure is recorded."""
        with reading(self._engine) as connection:
            row = connection.execute(select(circuits).where(circuits.c.server == self._server)).first()
        return None if row is None else Circuit(**row._asdict())

    def record_failure(self, reason: str, *, stage: str | None = None) -> Circuit:
        """Count a failure of the server and return the circuit as it is now.

        Args:
            reason: what failed, for people.
            stage: the SMTP stage at which it failed.
        """
        now = self._clock()
        new = {"server": self._server, "failures": 0, "probes": 0, "since": now, "probe_at": now}
        with writing(self._engine) as connection:
            insert_or_ignore(connection, circuits, new | {"reason": reason})
            probes = connection.execute(
                select(circuits.c.probes).where(circuits.c.server == self._server).with_for_update()
            ).scalar_one()
            changed = (
                update(circuits)
                .where(circuits.c.server == self._server)
                .values(
                    failures=circuits.c.failures + 1,
                    reason=reason,
                    stage=stage,
                    probe_at=now + _probe_delay(probes),
                )
                .returning(*circuits.c)
            )
            return Circuit(**connection.execute(changed).one()._asdict())

    def record_success(self) -> int:
        """Close the circuit, because the server has answered, and make the emails due that waited for that.

        Returns:
            How many emails are due now.
        """
        waits_for_server = emails.c.reason_code == ReasonCode.MAIL_SERVER_DOWN
        is_kept = and_(emails.c.state == State.PENDING, waits_for_server)
        values = {"due_at": self._clock(), "not_before": None, **reason_values(None)}
        with writing(self._engine) as connection:
            connection.execute(delete(circuits).where(circuits.c.server == self._server))
            return connection.execute(update(emails).where(is_kept).values(**values)).rowcount

    def acquire_probe(self) -> bool:
        """Acquire the right to probe the server with one email; return whether the caller has it.

        Only one caller at a time has it.
        """
        now = self._clock()
        is_due = and_(circuits.c.server == self._server, circuits.c.probe_at <= now)
        taken = (
            update(circuits)
            .where(is_due)
            .values(probe_at=now + timedelta(seconds=_PROBE_LEASE_SECONDS), probes=circuits.c.probes + 1)
            .returning(circuits.c.server)
        )
        with writing(self._engine) as connection:
            return connection.execute(taken).first() is not None

    def postpone_email(self, email_id: str, *, until: datetime, reason: str) -> bool:
        """Return a published email to the log while the circuit is open.

        Args:
            until: when a worker may try it again.
            reason: what is wrong with the mail server, for people.

        Returns:
            Whether that was done; False if the email is not waiting to be sent any more.
        """
        now, code, text = self._clock(), ReasonCode.MAIL_SERVER_DOWN, f"postponed: {reason}"
        values = reason_values(Reason(code=code, text=text))
        values |= {"due_at": until, "not_before": until, "queued_at": None, "queued_in": None}
        is_due = and_(emails.c.id == email_id, may_start(now))
        is_published = and_(is_due, emails.c.state.in_([State.QUEUED, State.DEFERRED]))
        with writing(self._engine) as connection:
            # The worker may have its message before `mark_queued` has committed. This statement comes first
            # because it waits for that transaction.
            is_not_marked = and_(is_due, emails.c.state == State.PENDING)
            kept = update(emails).where(is_not_marked).values(**values, updated_at=now)
            if connection.execute(kept).rowcount:
                append_events(connection, [email_id], text=text, now=now, code=code)
                return True
            changed = change_state(
                connection, is_published, State.PENDING, text=text, values=values, now=now, code=code
            )
            return bool(changed)


def read_circuits(engine: Engine) -> list[Circuit]:
    """Return the circuits to all mail servers that have failed."""
    with reading(engine) as connection:
        return [Circuit(**row._asdict()) for row in connection.execute(select(circuits))]


def _probe_delay(probes: int) -> timedelta:
    return timedelta(seconds=min(MAX_PROBE_DELAY_SECONDS, FIRST_PROBE_DELAY_SECONDS * 2 ** min(probes, 10)))
