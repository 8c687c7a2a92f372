"""The circuit to the mail server, shared by all workers of a log: open while the server is of no use.

While it is open nothing is published but one email at a time, as a probe: a dead server is not hammered,
wrong credentials do not lock an account, and no email burns attempts on what is not its fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, select, update

from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import circuits
from mailctl.delivery_log.transitions import insert_or_ignore, utc_now
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

#: Failures in a row, of the server and not of an email, that open the circuit.
FAILURES_TO_OPEN = 3
#: Seconds until the first probe; they double with each probe that fails.
FIRST_PROBE_DELAY_SECONDS = 10.0
MAX_PROBE_DELAY_SECONDS = 300.0
#: Seconds that a probe may take before another worker makes one.
_PROBE_LEASE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """What is known of a mail server that does not work."""

    #: host:port.
    server: str
    failures: int
    #: Attempts since it opened.
    probes: int
    reason: str
    since: datetime
    probe_at: datetime

    @property
    def is_open(self) -> bool:
        """Whether emails are kept back."""
        return self.failures >= FAILURES_TO_OPEN

    def __str__(self) -> str:
        since = format_time(self.since, TimeStyle.SENTENCE_CLOCK)
        return f"the mail server {self.server} does not work since {since}: {self.reason}"


class Circuits:
    """Counts failures of the mail server, and says who may try it.

    Args:
        engine: of the delivery log's database, its schema current.
        server: host:port of the mail server.
        clock: gives the time.
    """

    def __init__(self, engine: Engine, server: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._server = server
        self._clock = clock

    def read(self) -> Circuit | None:
        """Return what is known of the server; None if it works as far as is known."""
        with reading(self._engine) as connection:
            row = connection.execute(select(circuits).where(circuits.c.server == self._server)).first()
        return None if row is None else Circuit(**row._asdict())

    def record_failure(self, reason: str) -> Circuit:
        """Count a failure of the server; return what is known now."""
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
                .values(failures=circuits.c.failures + 1, reason=reason, probe_at=now + _probe_delay(probes))
                .returning(*circuits.c)
            )
            return Circuit(**connection.execute(changed).one()._asdict())

    def record_success(self) -> None:
        """Close the circuit: the server has answered for an email."""
        with writing(self._engine) as connection:
            connection.execute(delete(circuits).where(circuits.c.server == self._server))

    def acquire_probe(self) -> bool:
        """Whether the caller may publish one email to try an open circuit; only one caller at a time may."""
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


def read_circuits(engine: Engine) -> list[Circuit]:
    """Return what is known of every mail server that does not work."""
    with reading(engine) as connection:
        return [Circuit(**row._asdict()) for row in connection.execute(select(circuits))]


def _probe_delay(probes: int) -> timedelta:
    return timedelta(seconds=min(MAX_PROBE_DELAY_SECONDS, FIRST_PROBE_DELAY_SECONDS * 2 ** min(probes, 10)))
