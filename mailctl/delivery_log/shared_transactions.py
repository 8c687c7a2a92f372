"""Transactions that several threads share: what comes while one is written is written with the next."""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from mailctl.delivery_log.storage.engine import is_about_a_row, is_lock_conflict, writing
from mailctl.delivery_log.storage.time_limit import remaining_seconds, time_limit
from mailctl.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Engine

_A = TypeVar("_A")
_T = TypeVar("_T")
#: Calls that share a transaction at most.
MOST_CALLS = 100
#: Seconds to wait, and that a transaction may take, without a time limit of the caller.
_LONGEST_SECONDS = 60.0
#: How often calls are written together, each time without one that has failed, until each is written alone.
_TRIES = 5
#: How long calls may wait together for a lock of another transaction, such as a long one of the service that
#: has used the same idempotency key; who has to wait longer waits alone, and holds up nobody.
_LOCK_SECONDS = 0.1


def too_late() -> LogUnavailable:
    """Return the error of a call with which no transaction has begun in time."""
    return LogUnavailable("the delivery log does not answer in time.", fix="See `mailctl check-config`.")


class SharedCall(Generic[_A, _T]):
    """One call, with the context in which it was made."""

    def __init__(self, argument: _A, *, order: str) -> None:
        self.argument = argument
        self.order = order
        self.context = contextvars.copy_context()
        #: Set when its thread has to look: it is done, or is to be written by its own thread.
        self.attention = threading.Event()
        #: Whether its own thread writes it, together with those that wait.
        self.is_next = False
        #: Whether it has to be written in a transaction without others, by its own thread.
        self.is_alone = False
        #: Whether it is being written by itself.
        self.is_running = False
        #: The result alone; empty until there is one.
        self._results: tuple[_T, ...] = ()
        self.error: BaseException | None = None

    def end(self, result: _T) -> None:
        """Note the result."""
        self._results, self.error = (result,), None

    def take_result(self) -> _T:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        [result] = self._results
        return result


class SharedTransactions(Generic[_A, _T]):
    """Writes what several threads write at the same time in one transaction.

    A call that comes alone waits for nobody. One that fails, or waits for another transaction, does so alone.

    Args:
        engine: of the delivery log's database.
        write: writes the arguments of some calls in a transaction, in few statements, and returns their
            results. If it fails, it is called again for fewer calls in another transaction.
        durable: whether a transaction is on disk when its calls return.
    """

    def __init__(
        self,
        engine: Engine,
        write: Callable[[Connection, Sequence[_A]], Sequence[_T]],
        *,
        durable: bool = True,
    ) -> None:
        self._engine = engine
        self._write = write
        self._durable = durable
        self._lock = threading.Lock()
        self._waiting: list[SharedCall[_A, _T]] = []
        #: Whether a thread writes, or is about to.
        self._is_writing = False

    def write(self, argument: _A, *, order: str) -> _T:
        """Return the result of a call, once its transaction is committed.

        Args:
            argument: what is to be written.
            order: what the calls of a transaction are sorted by, so that processes lock rows in one order.

        Raises:
            LogUnavailable: the delivery log cannot be written in time. Errors of the function are raised.
        """
        call = SharedCall[_A, _T](argument, order=order)
        try:
            with self._lock:
                self._waiting.append(call)
                call.is_next, self._is_writing = not self._is_writing, True
            if not call.is_next:
                self._wait_for_turn(call)
            if call.is_next:
                self._write_waiting(call)
        except BaseException:
            # Interrupted by a signal, perhaps: the others must not wait for this thread.
            self._withdraw(call)
            raise
        if call.is_alone:
            self.write_alone(call)
        return call.take_result()

    def write_all(self, calls: Sequence[SharedCall[_A, _T]]) -> None:
        """Write calls that came together, for which one thread waits, in the context of the first.

        Afterwards each has its result or error, or is to be written alone: it may have to wait for long.
        """
        calls[0].context.run(self._write_all, calls)

    def write_alone(self, call: SharedCall[_A, _T]) -> None:
        """Write a call in a transaction of its own; afterwards it has its result or error."""
        call.context.run(self._write_alone, call)

    def _wait_for_turn(self, call: SharedCall[_A, _T]) -> None:
        """Wait until a call is done, or its own thread has to write it.

        Raises:
            LogUnavailable: no transaction has begun with it in time.
        """
        limit = remaining_seconds()
        if call.attention.wait(_LONGEST_SECONDS if limit is None else max(0.0, limit)):
            return
        if self._withdraw(call):
            raise too_late()
        call.attention.wait()  # another thread writes it already

    def _withdraw(self, call: SharedCall[_A, _T]) -> bool:
        """Take back a call that no transaction has begun with; return whether there was none."""
        with self._lock:
            is_waiting = call in self._waiting
            if is_waiting:
                self._waiting.remove(call)
        if is_waiting and call.is_next:
            self._pass_on()
        return is_waiting

    def _write_waiting(self, own: SharedCall[_A, _T]) -> None:
        """Write a call together with those that wait, and let the next thread write what came meanwhile."""
        calls: list[SharedCall[_A, _T]] = [own]
        try:
            with self._lock:
                self._waiting.remove(own)
                calls += self._waiting[: MOST_CALLS - 1]
                del self._waiting[: MOST_CALLS - 1]
            self._write_all(calls)
        except BaseException as error:
            for call in calls:
                call.error = call.error or error
            raise
        finally:
            self._pass_on()
            for call in calls:
                call.attention.set()

    def _pass_on(self) -> None:
        with self._lock:
            self._is_writing = bool(self._waiting)
            if self._waiting:
                self._waiting[0].is_next = True
                self._waiting[0].attention.set()

    def _write_all(self, calls: Sequence[SharedCall[_A, _T]]) -> None:
        """Write calls together, and leave to their own threads those whose errors would undo the others."""
        # Mostly none fails, and a few statements write them all.
        calls = calls if self._try_together(calls, self._write_at_once) else ()
        for _ in range(_TRIES):
            failed = self._try_together(calls, self._write_one_by_one) if calls else ()
            for call in failed:
                call.is_alone = True
            calls = [call for call in calls if not call.is_alone] if failed else []
        for call in calls:
            call.is_alone = True

    def _write_at_once(self, connection: Connection, calls: Sequence[SharedCall[_A, _T]]) -> None:
        results = self._write(connection, [call.argument for call in calls])
        for call, result in zip(calls, results, strict=True):
            call.end(result)

    def _write_one_by_one(self, connection: Connection, calls: Sequence[SharedCall[_A, _T]]) -> None:
        for call in calls:
            call.is_running = True
            [result] = call.context.copy().run(self._write, connection, [call.argument])
            call.end(result)
            call.is_running = False

    def _try_together(
        self,
        calls: Sequence[SharedCall[_A, _T]],
        write: Callable[[Connection, Sequence[SharedCall[_A, _T]]], None],
    ) -> Sequence[SharedCall[_A, _T]]:
        """Write calls in one transaction; return those that have failed, which undoes all."""
        try:
            with (
                time_limit(_LONGEST_SECONDS, lock_seconds=_LOCK_SECONDS),
                writing(self._engine, durable=self._durable) as connection,
            ):
                write(connection, sorted(calls, key=lambda call: call.order))
        except Exception as error:
            if not is_lock_conflict(error) and (
                len(calls) == 1 or (isinstance(error, LogUnavailable) and not is_about_a_row(error))
            ):
                for call in calls:
                    call.error = error
                return ()
            running = [call for call in calls if call.is_running]
            for call in running:
                call.is_running = False
            return running or calls
        return ()

    def _write_alone(self, call: SharedCall[_A, _T]) -> None:
        try:
            with writing(self._engine, durable=self._durable) as connection:
                [result] = self._write(connection, [call.argument])
            call.end(result)
        except Exception as error:
            call.error = error
