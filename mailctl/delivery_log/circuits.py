"""Circuit breakers: one for each mail server, shared by all workers of a log, open while the server fails.

While a circuit is open, one email at a time is tried as a probe: a dead server is not flooded, wrong
credentials do not lock an account, and no email uses up attempts because of the server.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, or_, select, true, update

from mailctl.delivery_log.campaign_rates import return_to_log
from mailctl.delivery_log.due import may_start
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import circuits, emails
from mailctl.delivery_log.transitions import (
    append_events,
    insert_or_ignore,
    reason_values,
)
from mailctl.domain.outcomes import ReplyCategory
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import State
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from sqlalchemy import Connection, Engine, Row

    from mailctl.delivery_log.heartbeats import Worker

#: Consecutive failures of the server, not of single emails, that open the circuit.
FAILURES_TO_OPEN = 3
#: Seconds until the first probe; doubled with each probe that fails.
FIRST_PROBE_DELAY_SECONDS = 10.0
MAX_PROBE_DELAY_SECONDS = 300.0
#: The same while a quota is used up, which takes hours to come back.
FIRST_QUOTA_PROBE_DELAY_SECONDS = 300.0
MAX_QUOTA_PROBE_DELAY_SECONDS = 3600.0
#: The SMTP stages of an email, after the session is open.
_TRANSACTION_STAGES = frozenset({"mail", "rcpt", "data", "body"})
#: Seconds that a probe may take before another worker may start one.
_PROBE_LEASE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """The state of the circuit to a mail server that has failed."""

    #: host:port, after the name of the server if it is not the default one.
    server: str
    failures: int
    #: Probes since it opened.
    probes: int
    #: What failed last, for people.
    reason: str
    #: The SMTP stage of that failure; None if it has none.
    stage: str | None = None
    #: What the reply was about; None if it was no reply.
    category: ReplyCategory | None = None
    since: datetime
    probe_at: datetime
    #: Whether the failure that was just recorded has opened it.
    has_just_opened: bool = False

    @property
    def is_open(self) -> bool:
        """Whether emails wait until the server works again."""
        return self.failures >= FAILURES_TO_OPEN

    @property
    def is_about_emails(self) -> bool:
        """Whether the server answers and lets us sign in, but refuses every email."""
        return self.stage in _TRANSACTION_STAGES

    def __str__(self) -> str:
        return self.describe(f"the mail server {self.server}")

    def describe(self, subject: str) -> str:
        """Return a clause that says since when the subject has not worked, and why."""
        since = format_time(self.since, TimeStyle.SENTENCE_CLOCK)
        what = "has accepted no email" if self.is_about_emails else "has not worked"
        return f"{subject} {what} since {since}: {self.reason}"


class Circuits(Repository):
    """Counts failures of a mail server, decides which worker may probe it, and keeps emails back meanwhile.

    Args:
        engine: of the delivery log's database, with the current schema.
        server: host:port of the mail server, after its name if it is not the default one.
        routes: the routes that the server is in, as emails have them; () if there are no routes.
        clock: returns the current time, aware; None takes the clock of the log.
    """

    def __init__(
        self,
        engine: Engine,
        server: str,
        *,
        routes: Collection[str] = (),
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(engine, clock=clock)
        self._server = server
        self._routes = routes

    def read(self) -> Circuit | None:
        """Return the circuit to the server; None if no failure is recorded."""
        with reading(self._engine) as connection:
            row = connection.execute(select(circuits).where(circuits.c.server == self._server)).first()
        return None if row is None else _circuit_from_row(row)

    def record_failure(
        self,
        reason: str,
        *,
        stage: str | None = None,
        category: ReplyCategory | None = None,
        opens_at_once: bool = False,
    ) -> Circuit:
        """Count a failure of the server and return the circuit as it is now.

        Args:
            reason: what failed, for people.
            stage: the SMTP stage at which it failed.
            category: what the reply was about; None if there was none.
            opens_at_once: whether this one failure proves that no email can be sent.
        """
        now = self._clock()
        new = {"server": self._server, "failures": 0, "probes": 0, "since": now, "probe_at": now}
        with writing(self._engine) as connection:
            insert_or_ignore(connection, circuits, new | {"reason": reason})
            before = connection.execute(
                select(circuits.c.probes, circuits.c.failures)
                .where(circuits.c.server == self._server)
                .with_for_update()
            ).one()
            failures = max(before.failures + 1, FAILURES_TO_OPEN if opens_at_once else 0)
            changed = (
                update(circuits)
                .where(circuits.c.server == self._server)
                .values(
                    failures=failures,
                    reason=reason,
                    stage=stage,
                    category=category,
                    probe_at=now + _probe_delay(before.probes, category),
                )
                .returning(*circuits.c)
            )
            circuit = _circuit_from_row(connection.execute(changed).one())
        return replace(circuit, has_just_opened=before.failures < FAILURES_TO_OPEN <= failures)

    def record_success(self) -> int:
        """Close the circuit, because the server works, and make the emails due that waited for that.

        Returns:
            How many emails are due now.
        """
        waits_for_server = emails.c.reason_code == ReasonCode.MAIL_SERVER_DOWN
        is_ours = or_(emails.c.route.is_(None), emails.c.route.in_(self._routes)) if self._routes else true()
        is_kept = and_(emails.c.state == State.PENDING, waits_for_server, is_ours)
        was_refused = emails.c.reason_code == ReasonCode.CONFIGURATION
        if self._routes:  # what another server left without an answer can go by this one
            is_unanswered = and_(emails.c.reason_code == ReasonCode.DEFERRED, emails.c.smtp_code.is_(None))
            was_refused = and_(is_ours, or_(was_refused, is_unanswered))
        is_refused = and_(emails.c.state == State.DEFERRED, was_refused, ~emails.c.is_own_task)
        is_due = {"due_at": self._clock(), "not_before": None}
        with writing(self._engine) as connection:
            closed = delete(circuits).where(circuits.c.server == self._server)
            failures = connection.execute(closed.returning(circuits.c.failures)).scalar()
            released = connection.execute(
                update(emails).where(is_kept).values(**is_due, **reason_values(None))
            ).rowcount
            # Otherwise others were accepted meanwhile, so that what refused these is not the server's state.
            if failures is not None and failures >= FAILURES_TO_OPEN:
                released += connection.execute(update(emails).where(is_refused).values(**is_due)).rowcount
            return released

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

    def postpone_email(
        self,
        email_id: str,
        *,
        until: datetime,
        reason: str,
        route: str | None = None,
        servers: Collection[str] = (),
    ) -> bool:
        """Return a published email to the log while the circuit is open.

        Args:
            until: when a worker may try it again.
            reason: what is wrong with the mail server, for people.
            route: the mail servers that it waits for; None if there is only one.
            servers: the same as `Circuit.server` has them; () if there is only one.

        Returns:
            Whether that was done; False if the email is not waiting to be sent any more, or the circuit to
            one of the servers has closed: nothing would end the wait of an email that is postponed later.
        """
        now, code, text = self._clock(), ReasonCode.MAIL_SERVER_DOWN, f"postponed: {reason}"
        values = reason_values(Reason(code=code, text=text))
        values |= {"due_at": until, "not_before": until, "queued_at": None, "queued_in": None}
        values |= {"route": route} if route else {}
        is_due = and_(emails.c.id == email_id, may_start(now))
        is_published = and_(is_due, emails.c.state.in_([State.QUEUED, State.DEFERRED]))
        with writing(self._engine) as connection:
            if not _hold_open(connection, servers or (self._server,)):
                return False
            # The worker may have its message before `mark_queued` has committed. This statement comes first
            # because it waits for that transaction.
            is_not_marked = and_(is_due, emails.c.state == State.PENDING)
            kept = update(emails).where(is_not_marked).values(**values, updated_at=now)
            if connection.execute(kept).rowcount:
                append_events(connection, [email_id], text=text, now=now, code=code)
                return True
            changed = return_to_log(connection, is_published, text=text, values=values, now=now, code=code)
            return bool(changed)


def _hold_open(connection: Connection, servers: Collection[str]) -> bool:
    """Return whether the circuits to all of these servers are open, and keep them from closing meanwhile."""
    is_open = and_(circuits.c.server.in_(servers), circuits.c.failures >= FAILURES_TO_OPEN)
    query = select(circuits.c.server).where(is_open).order_by(circuits.c.server)
    found = connection.execute(query.with_for_update(read=True)).all()
    return len(found) == len(set(servers))


def read_circuits(engine: Engine) -> list[Circuit]:
    """Return the circuits to all mail servers that have failed."""
    with reading(engine) as connection:
        return [_circuit_from_row(row) for row in connection.execute(select(circuits))]


def read_circuits_in_use(engine: Engine, workers: Sequence[Worker]) -> list[Circuit]:
    """Return the circuits to the mail servers of live workers.

    A circuit to a server that nobody uses any more stays as it was. If a worker does not say which server it
    uses, or there is none, the circuits to all servers are returned.
    """
    used = {
        server for worker in workers for server in (worker.identity.servers if worker.identity else (None,))
    }
    circuits = read_circuits(engine)
    return circuits if not used or None in used else [each for each in circuits if each.server in used]


def _circuit_from_row(row: Row[Any]) -> Circuit:
    category = row.category and ReplyCategory(row.category)
    return Circuit(**{**row._asdict(), "category": category})


def _probe_delay(probes: int, category: ReplyCategory | None) -> timedelta:
    first, longest = FIRST_PROBE_DELAY_SECONDS, MAX_PROBE_DELAY_SECONDS
    if category is ReplyCategory.QUOTA:
        first, longest = FIRST_QUOTA_PROBE_DELAY_SECONDS, MAX_QUOTA_PROBE_DELAY_SECONDS
    return timedelta(seconds=min(longest, first * 2 ** min(probes, 10)))
