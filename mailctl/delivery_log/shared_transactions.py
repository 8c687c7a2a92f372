"""Transactions that several threads share: what comes while one is written is written with the next."""

from __future__ import annotations

import contextvars
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mailctl.delivery_log.storage.engine import is_about_a_row, writing
from mailctl.delivery_log.storage.time_limit import remaining_seconds
from mailctl.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Engine

_T = TypeVar("_T")
#: Calls that share a transaction at most.
_MOST = 100
#: Seconds to wait without a time limit of the caller.
_LONGEST_SECONDS = 60.0
#: How often calls are written together, each time without one that has failed, until each is written alone.
_TRIES = 5
#: How long calls may wait together for a lock of another transaction, such as a long one of the service that
#: has used the same idempotency key; who has to wait longer waits alone, and holds up nobody.
_LOCK_MILLISECONDS = 100
#: The codes of PostgreSQL for a lock that was not available in time, and for a deadlock.
_LOCK_STATES = frozenset({"55P03", "40P01"})


class _Call(Generic[_T]):
    """One call, with the context in which it was made."""

    def __init__(self, write: Callable[[Connection], _T], *, order: str) -> None:
        self._write = write
        self.order = order
        self._context = contextvars.copy_context()
        self.is_done = False
        #: Whether its own thread writes it, in a transaction of its own.
        self.is_alone = False
        #: The result alone; empty until there is one.
        self._results: tuple[_T, ...] = ()
        self.error: BaseException | None = None

    def run(self, connection: Connection) -> None:
        """Write in a transaction."""
        self._results, self.error = (self._context.run(self._write, connection),), None

    def take_result(self) -> _T:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        [result] = self._results
        return result


class SharedTransactions:
    """Writes what several threads write at the same time in one transaction.

    A call that comes alone waits for nobody. One that fails, or waits for another transaction, does so alone.

    Args:
        engine: of the delivery log's database.
        durable: whether a transaction is on disk when its calls return.
    """

    def __init__(self, engine: Engine, *, durable: bool = True) -> None:
        self._engine = engine
        self._durable = durable
        self._writing = threading.Lock()
        self._waiting_lock = threading.Lock()
        self._waiting: list[_Call[Any]] = []

    def write(self, write: Callable[[Connection], _T], *, order: str) -> _T:
        """Return the result of a function that writes in a transaction, once that is committed.

        Args:
            write: called once, or again in a transaction of its own if that of several calls has failed.
            order: what the calls of a transaction are sorted by, so that processes lock rows in one order.

        Raises:
            LogUnavailable: the delivery log cannot be written in time. Errors of the function are raised.
        """
        call = _Call(write, order=order)
        with self._waiting_lock:
            self._waiting.append(call)
        limit = remaining_seconds()
        deadline = time.monotonic() + (_LONGEST_SECONDS if limit is None else limit)
        while not self._writing.acquire(timeout=max(0.0, deadline - time.monotonic())):
            if self._withdraw(call):
                raise LogUnavailable(
                    "the delivery log does not answer in time.", fix="See `mailctl check-config`."
                )
            deadline = time.monotonic() + _LONGEST_SECONDS  # another call writes it already
        try:
            if not (call.is_done or call.is_alone):
                self._write_waiting(call)
        finally:
            self._writing.release()
        if call.is_alone:
            self._write_alone(call)
        return call.take_result()

    def _withdraw(self, call: _Call[Any]) -> bool:
        """Take back a call that no transaction has begun with; return whether there was none."""
        with self._waiting_lock:
            if call in self._waiting:
                self._waiting.remove(call)
                return True
        return False

    def _write_waiting(self, own: _Call[Any]) -> None:
        """Write a call together with those that wait."""
        with self._waiting_lock:
            self._waiting.remove(own)
            calls: list[_Call[Any]] = [own, *self._waiting[: _MOST - 1]]
            del self._waiting[: _MOST - 1]
        try:
            self._write_all(calls)
        except BaseException as error:
            for call in calls:
                call.error = call.error or error
            raise
        finally:
            for call in calls:
                call.is_done = not call.is_alone

    def _write_all(self, calls: Sequence[_Call[Any]]) -> None:
        """Write calls together, and leave to their own threads those whose errors would undo the others."""
        for _ in range(_TRIES):
            failed = self._try_together(calls) if calls else ()
            for call in failed:
                call.is_alone = True
            calls = [call for call in calls if not call.is_alone] if failed else []
        for call in calls:
            call.is_alone = True

    def _try_together(self, calls: Sequence[_Call[Any]]) -> Sequence[_Call[Any]]:
        """Write calls in one transaction; return those that have failed, which undoes all."""
        running: _Call[Any] | None = None
        try:
            with writing(self._engine, durable=self._durable) as connection:
                if connection.dialect.name == "postgresql":
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_MILLISECONDS}ms'")
                for running in sorted(calls, key=lambda call: call.order):
                    running.run(connection)
                running = None
        except Exception as error:
            sqlstate = getattr(getattr(error.__cause__, "orig", None), "sqlstate", None)
            if sqlstate not in _LOCK_STATES and (
                len(calls) == 1 or (isinstance(error, LogUnavailable) and not is_about_a_row(error))
            ):
                for call in calls:
                    call.error = error
                return ()
            return calls if running is None else [running]
        return ()

    def _write_alone(self, call: _Call[Any]) -> None:
        try:
            with writing(self._engine, durable=self._durable) as connection:
                call.run(connection)
        except Exception as error:
            call.error = error
