"""A thread that writes to the delivery log for code that must not wait for it, such as an event loop."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.delivery_log.storage.time_limit import time_limit
from mailctl.errors import MailctlError
from mailctl.process.fork_safety import no_fork
from mailctl.process.per_process import PerProcess
from mailctl.security.address_masking import masking_logger
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailctl.runtime import Runtime

_log = masking_logger("mailctl.recorder")
#: Seconds for which a delivery log that failed is not used again.
BACKOFF_SECONDS = 10.0
#: Seconds that a silent delivery log on a server may hold up a task of the service, and the writing thread.
LOG_SECONDS = 10.0
#: Seconds that a process waits at its end for entries that are not written yet, unless the log fails. A short
#: script may end before it has even imported the database driver.
FLUSH_SECONDS = 30.0
#: The maximum number of entries that wait while the delivery log is down; the oldest are dropped.
_MAX_WAITING = 10_000


class LogHealth:
    """Tracks whether the delivery log works, and logs each change once."""

    def __init__(self) -> None:
        self._retry_at = 0.0
        self._is_down = False

    @property
    def is_backing_off(self) -> bool:
        """Whether the delivery log failed so recently that it is not used again yet."""
        return time.monotonic() < self._retry_at

    @contextmanager
    def tolerating(self) -> Iterator[None]:
        """Suppress every error in the block and limit its time: no fault of the log may stop the service."""
        try:
            with time_limit(LOG_SECONDS):
                yield
        except Exception as error:
            self.note_failure(error)
        else:
            self.note_success()

    def note_failure(self, error: Exception) -> None:
        """Note that the delivery log failed; log an error if it worked before."""
        self._retry_at = time.monotonic() + BACKOFF_SECONDS
        if not self._is_down:
            self._is_down = True
            text = str(error) if isinstance(error, MailctlError) else type(error).__name__
            _log.error("emails of the service's own tasks are not recorded: %s", text)

    def note_success(self) -> None:
        """Note that the delivery log works; log that if it failed before."""
        self._retry_at = 0.0
        if self._is_down:
            self._is_down = False
            _log.info("emails of the service's own tasks are recorded again")


@dataclass(kw_only=True)
class _Periodic:
    """An entry that is run again and again."""

    entry: Callable[[Runtime], object]
    every_seconds: float
    due_at: float = 0.0


class LogWriter:
    """Runs entries in order, in one thread of this process; an entry that fails is tried again.

    Args:
        health: shared with what writes to the log without this thread.
    """

    def __init__(self, health: LogHealth) -> None:
        self._health = health
        self._waiting: deque[Callable[[Runtime], object]] = deque()
        self._periodic: list[_Periodic] = []
        self._last: list[Callable[[Runtime], object]] = []
        self._changed = threading.Condition()
        self._is_flushing = False
        self._is_closed = False
        self._lost = 0
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="mailctl-recorder", daemon=True)
        self._thread.start()
        atexit.register(self.flush)

    def put(self, entry: Callable[[Runtime], object]) -> None:
        """Run an entry soon, after those that wait already."""
        with self._changed:
            self._waiting.append(entry)
            if len(self._waiting) > _MAX_WAITING:
                self._waiting.popleft()
                self._lost += 1
            self._changed.notify_all()

    def repeat(self, entry: Callable[[Runtime], object], *, every_seconds: float) -> None:
        """Run an entry at an interval from now on; repeating it again changes nothing."""
        with self._changed:
            if not any(each.entry == entry for each in self._periodic):
                due_at = time.monotonic() + every_seconds
                self._periodic.append(_Periodic(entry=entry, every_seconds=every_seconds, due_at=due_at))
                self._changed.notify_all()

    def before_exit(self, entry: Callable[[Runtime], object]) -> None:
        """Run an entry once more when the process ends; adding it again changes nothing."""
        with self._changed:
            if entry not in self._last:
                self._last.append(entry)

    def flush(self) -> None:
        """Wait, for a limited time, until all entries are written; log how many are not."""
        if os.getpid() != self._pid or self._is_closed:
            return  # a forked child has the object, and not the thread
        with self._changed:
            self._waiting.extend(self._last)
            self._is_flushing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._is_flushing, timeout=FLUSH_SECONDS)
            lost = self._lost + sum(entry not in self._last for entry in self._waiting)
        if lost:
            _log.error(
                "%s of emails of the service's own tasks could not be recorded", pluralize(lost, "change")
            )

    def close(self) -> None:
        """Write the entries that wait, as `flush` does, and end the thread."""
        self.flush()
        atexit.unregister(self.flush)
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(timeout=FLUSH_SECONDS)

    def _run(self) -> None:
        while not self._is_closed:
            with self._changed:
                # Not `wait_for`: what is repeated from now on changes how long to wait.
                if not self._has_work() and not self._is_closed:
                    self._changed.wait(self._seconds_to_next())
                is_flushing = self._is_flushing
            self._write_waiting(is_flushing=is_flushing)
            self._run_periodic()
            with self._changed:
                # What was put while the rest was written is written before the flush ends.
                self._is_flushing = self._is_flushing and not is_flushing
                self._changed.notify_all()

    def _has_work(self) -> bool:
        return self._is_flushing or (bool(self._waiting) and not self._health.is_backing_off)

    def _seconds_to_next(self) -> float | None:
        """Return how long to wait for something to do; None for as long as it takes."""
        now = time.monotonic()
        waits = [each.due_at - now for each in self._periodic]
        waits += [BACKOFF_SECONDS] if self._waiting else []
        return max(min(waits), 0.0) if waits else None

    def _write_waiting(self, *, is_flushing: bool) -> None:
        while self._waiting and (is_flushing or not self._health.is_backing_off):
            entry = self._waiting[0]
            try:
                self._apply(entry)
                self._health.note_success()
            except MailctlError as error:
                self._health.note_failure(error)
                return
            except Exception as error:  # it would fail again
                self._health.note_failure(error)
                self._lost += 1
            with self._changed:
                if self._waiting and self._waiting[0] is entry:
                    self._waiting.popleft()

    def _run_periodic(self) -> None:
        for each in list(self._periodic):
            if each.due_at <= time.monotonic() and not self._health.is_backing_off:
                with self._health.tolerating():
                    self._apply(each.entry)
            if each.due_at <= time.monotonic():
                each.due_at = time.monotonic() + each.every_seconds

    @staticmethod
    def _apply(entry: Callable[[Runtime], object]) -> None:
        # A process that is forked meanwhile would wait forever for locks of this thread, such as of imports.
        with no_fork(), time_limit(LOG_SECONDS):
            from mailctl import runtime  # imports the database driver; an event loop must not wait for that

            entry(runtime.current())


_health = PerProcess[LogHealth]()
_writers = PerProcess[LogWriter]()


def log_health() -> LogHealth:
    """Return the health of the delivery log, as this process has seen it."""
    return _health.get(LogHealth)


def log_writer() -> LogWriter:
    """Return the writer of this process; the first call starts its thread."""
    return _writers.get(lambda: LogWriter(log_health()))


def flush() -> None:
    """Write the entries that wait in this process, if any."""
    if (writer := _writers.peek()) is not None:
        writer.flush()


def close() -> None:
    """Write the entries that wait in this process, and end its writer; the next entry starts another."""
    if (writer := _writers.pop()) is not None:
        writer.close()
