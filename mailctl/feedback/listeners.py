"""Functions of the service that are called when this process records feedback."""

from __future__ import annotations

import atexit
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.security.address_masking import masking_logger
from mailctl.settings.plugins import summarize_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from mailctl.delivery_log.reports import RecordedReports, Report
    from mailctl.runtime import Runtime

_log = masking_logger("mailctl.feedback")

#: Seconds that whoever records reports waits for the functions; and a process that ends.
_PATIENCE_SECONDS, _PATIENCE_AT_EXIT_SECONDS = 1.0, 10.0
#: Events that wait for slow functions, at most.
_MAX_WAITING = 10_000


@dataclass(frozen=True, kw_only=True)
class FeedbackEvent:
    """A new report about an email, as functions of the service get it.

    Args:
        email_id: the email's id, which `EmailService` has returned.
        kind: delivered, delayed, relayed, bounced, complained or unsubscribed.
        is_proven: whether a signature proves it; an unproven one has changed nothing.
        state: the new state of the email; None if the report did not change it.
        is_hard: whether no email can ever reach the mailbox; its address is suppressed then.
        source: where the report came from, such as `dsn`.
        at: when it happened by the clock of the source, aware; None if the source does not tell.
        smtp_code: reply code of the remote server; None if there was no reply.
        enhanced_code: enhanced status code (RFC 3463); None if there was none.
        text: the words of the remote server, one line; from strangers, with addresses masked.
        remote_server: the server that said so; None if the source does not tell.
    """

    email_id: str
    kind: str
    is_proven: bool
    state: str | None
    is_hard: bool
    source: str
    at: datetime | None
    smtp_code: int | None
    enhanced_code: str | None
    text: str
    remote_server: str | None


_listeners: list[Callable[[FeedbackEvent], object]] = []


def on_feedback(listener: Callable[[FeedbackEvent], object]) -> Callable[[FeedbackEvent], object]:
    """Register a function that is called with each new report that this process records; also a decorator.

    The function is called after the report is in the delivery log, at most once for each report, in the
    process that records it: the service itself, if it includes the routes for webhooks, or `mailctl feedback`
    or a worker, if MAILCTL_APP names the module that registers the function. It is called in a thread, with
    one event at a time. What it raises is logged, and changes nothing.

    Args:
        listener: takes a `FeedbackEvent`; recording waits for it for a second at most.

    Returns:
        The same function.
    """
    if listener not in _listeners:
        _listeners.append(listener)
    return listener


def import_listeners(runtime: Runtime) -> None:
    """Import the service's module that MAILCTL_APP names, which may register functions.

    Raises:
        ConfigurationError: it cannot be imported, or has no such app.
    """
    if runtime.settings.mailctl_app:
        _ = runtime.app


def tell_listeners(result: RecordedReports) -> None:
    """Call the registered functions with the new reports, and wait a second at most until they return."""
    if not _listeners or not result.new:
        return
    # By the report itself: those that waited for an outcome do not tell their ids.
    states = {id(change.report): str(change.state) for change in result.changes}
    _calls.add([_event(email_id, report, state=states.get(id(report))) for email_id, report in result.new])


def _event(email_id: str, report: Report, *, state: str | None) -> FeedbackEvent:
    return FeedbackEvent(
        email_id=email_id,
        kind=str(report.kind),
        is_proven=report.is_proven,
        state=state,
        is_hard=report.is_hard,
        source=report.source,
        at=report.at,
        smtp_code=report.reply.code,
        enhanced_code=report.reply.enhanced,
        text=report.reply.text,
        remote_server=report.remote_server,
    )


def wait_for_listeners() -> None:
    """Wait for listeners that are still running, for 10 seconds at most, before the process ends."""
    _calls.wait(_PATIENCE_AT_EXIT_SECONDS)


class _Calls:
    """Calls the functions in a thread, one event after the other: one that hangs stops nobody else.

    Args:
        patience_seconds: how long whoever adds events waits for the functions.
        max_waiting: events that wait for slow functions, at most; what is beyond is missed.
    """

    def __init__(
        self, *, patience_seconds: float = _PATIENCE_SECONDS, max_waiting: int = _MAX_WAITING
    ) -> None:
        self._patience_seconds, self._max_waiting = patience_seconds, max_waiting
        self._lock = threading.Lock()
        self._waiting: deque[FeedbackEvent] = deque()
        self._thread: threading.Thread | None = None

    def add(self, events: Sequence[FeedbackEvent]) -> None:
        """Let events follow those that wait; return when all are done, or after a while."""
        with self._lock:
            room = max(0, self._max_waiting - len(self._waiting))
            self._waiting.extend(events[:room])
            if self._thread is None or not self._thread.is_alive():
                # Not one that ends the process late: `wait` does that, with a limit.
                self._thread = threading.Thread(target=self._run, name="mailctl-listeners", daemon=True)
                self._thread.start()
        if len(events) > room:
            _log.error("functions registered with on_feedback are too slow: %d missed", len(events) - room)
        self.wait(self._patience_seconds)

    def wait(self, seconds: float) -> None:
        """Wait until no events are left, for so many seconds at most."""
        if thread := self._thread:
            thread.join(seconds)

    def _run(self) -> None:
        while (event := self._next()) is not None:
            for listener in tuple(_listeners):
                _call(listener, event)

    def _next(self) -> FeedbackEvent | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._thread = None
            return None


_calls = _Calls()
atexit.register(wait_for_listeners)


def _call(listener: Callable[[FeedbackEvent], object], event: FeedbackEvent) -> None:
    try:
        listener(event)
    except Exception as error:
        _log.error("a function registered with on_feedback failed: %s", summarize_error(error))
