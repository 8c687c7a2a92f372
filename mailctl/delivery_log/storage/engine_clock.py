"""The clock of a delivery log: that of its database server, or with SQLite that of this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from mailctl.delivery_log.storage.clock import HostClock, ServerClock, ServerTime
from mailctl.delivery_log.storage.engine import connected, translate_database_errors
from mailctl.process.boot_clock import boottime

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

#: The execution option of an engine that holds its `ServerClock`.
_CLOCK = "mailctl_clock"
#: How often a server is asked for its time in a row: the shortest answer tells it best.
_TIME_QUESTIONS = 3
_HOST_CLOCK = HostClock()


def clock_of(engine: Engine) -> HostClock | ServerClock:
    """Return the clock of a delivery log: that of its database server, or with SQLite that of this host."""
    if engine.dialect.name != "postgresql":
        return _HOST_CLOCK
    clock = engine.get_execution_options().get(_CLOCK)
    if not isinstance(clock, ServerClock):
        clock = ServerClock(lambda: _ask_time(engine))
        engine.update_execution_options(**{_CLOCK: clock})
    return clock


def compare_clock_on(connection: Connection, engine: Engine) -> None:
    """Compare the clock of a delivery log with its server on a connection of the caller, if that is due.

    A call on the event loop of a service must not wait for another connection.

    Args:
        connection: of the caller, to the same database.
        engine: of the delivery log.
    """
    clock = clock_of(engine)
    if isinstance(clock, ServerClock):
        clock.compare_if_due(lambda: _ask_time_once(connection))


def _ask_time(engine: Engine) -> ServerTime:
    with translate_database_errors(engine.url), connected(engine) as connection:
        answers = [_ask_time_once(connection) for _ in range(_TIME_QUESTIONS)]
    return min(answers, key=lambda answer: answer.answer_seconds)


def _ask_time_once(connection: Connection) -> ServerTime:
    asked_at = boottime()
    moment = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return ServerTime(time=moment, asked_at=asked_at, answered_at=boottime())
