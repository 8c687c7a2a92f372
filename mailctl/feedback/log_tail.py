"""Follows the log of an MTA, and records what it says of emails that this MTA accepted from mailctl."""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.accepted import AcceptedEmail, find_accepted
from mailctl.delivery_log.reports import FeedbackResult
from mailctl.errors import LogUnavailable
from mailctl.feedback.listeners import import_listeners
from mailctl.feedback.models import Feedback, FeedbackKind, Proof
from mailctl.feedback.mta_logs import LOGS, MAX_LINE, LogEntry, MtaLog, format_of
from mailctl.feedback.providers.payload import enhanced_code_in, event_id, reply_code_in
from mailctl.feedback.recording import FeedbackReceipt, count_rejected, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailctl.feedback.followed_file import FollowedFile, Place
    from mailctl.runtime import Runtime

_log = logging.getLogger("mailctl.feedback")

#: Entries that are recorded in one transaction.
_BATCH = 500
#: A worker records the reply of the MTA a moment after the MTA has begun to deliver.
_SECONDS_FOR_OUTCOME = 120.0
_MAX_WAITING = 10_000
_POLL_SECONDS = 1.0
#: Lines after which a log without a line about an email probably has another format.
_MANY_LINES = 1_000


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """An entry about an email that is not found yet."""

    entry: LogEntry
    until: float


class LogTail:
    """Records the entries of a log.

    An entry is proven by the queue id in the reply with which the MTA accepted the email. Without it an entry
    is likely only: whoever sends a message through this MTA can give it any Message-ID.

    Args:
        runtime: the parts of this process, with a delivery log that may be written.
        format: postfix or exim; None finds out from the first line that has either form.
        clock: returns seconds that never go back.

    Raises:
        ConfigurationError: the app of the service is not usable.
    """

    def __init__(
        self, runtime: Runtime, *, format: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        import_listeners(runtime)
        self._runtime = runtime
        self._format = format
        self._reader: MtaLog | None = LOGS[format]() if format else None
        self._clock = clock
        self._new: list[LogEntry] = []
        #: Whether a line had the format of the log, and how many lines did not until then.
        self._is_recognized, self._unrecognized = False, 0
        #: How many lines were longer than any.
        self._oversized = 0
        self._waiting: list[_Waiting] = []

    @property
    def is_waiting(self) -> bool:
        """Whether entries wait for the outcome of their emails."""
        return bool(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether as many entries were read as are recorded at once."""
        return len(self._new) >= _BATCH

    def read(self, line: str) -> None:
        """Read a line; `flush` records what it says."""
        if len(line) > MAX_LINE:
            self._oversized += 1
            return
        if not self._is_recognized:
            self._recognize(line)
        if self._reader is not None:
            self._new += self._reader.read(line)

    def _recognize(self, line: str) -> None:
        name = format_of(line)
        if name and self._format in (None, name):
            self._is_recognized = True
            self._format, self._reader = name, self._reader or LOGS[name]()
        self._unrecognized += 1

    def warn_if_unrecognized(self, *, is_end: bool = False) -> None:
        """Warn once if no line, of many or of all at the end, is about an email in the format of the log."""
        if not self._is_recognized and self._unrecognized >= (1 if is_end else _MANY_LINES):
            form = self._format or " or ".join(LOGS)
            _log.warning(
                "none of the %d lines so far is about an email in the format of %s", self._unrecognized, form
            )
            self._is_recognized = True

    def remember(self, line: str) -> None:
        """Read a line for the queue id that it introduces alone: its deliveries were recorded before."""
        self.read(line)
        self._new.clear()
        self._oversized = 0

    def flush(self, *, is_end: bool = False) -> FeedbackReceipt:
        """Record what was read, and what has waited for the outcome of its email.

        Args:
            is_end: whether no more is read, so that nothing waits any longer.

        Raises:
            LogUnavailable: the delivery log does not answer; nothing is lost, and the next call tries again.
        """
        now = self._clock()
        if self._oversized:
            source = f"{self._format or 'mail'}-log"
            count_rejected(self._runtime, source, FeedbackResult.OVERSIZED, self._oversized)
            self._oversized = 0
        entries = [each.entry for each in self._waiting] + self._new
        if not entries:
            return FeedbackReceipt()
        keys = {(entry.message_id, entry.recipient) for entry in entries}
        known = find_accepted(self._runtime.engine, keys)
        deadlines = {id(each.entry): each.until for each in self._waiting}
        reports: list[Feedback] = []
        waiting: list[_Waiting] = []
        for entry in entries:
            accepted = known.get((entry.message_id, entry.recipient))
            until = deadlines.get(id(entry), now + _SECONDS_FOR_OUTCOME)
            if accepted is None and not is_end and now < until:
                waiting.append(_Waiting(entry=entry, until=until))
            else:
                reports.append(self._report(entry, accepted))
        # Those of another service that sends through the same MTA are never found.
        given_up = waiting[: max(0, len(waiting) - _MAX_WAITING)]
        reports += [self._report(each.entry, None) for each in given_up]
        receipt = record(self._runtime, reports) if reports else FeedbackReceipt()
        self._new, self._waiting = [], waiting[len(given_up) :]
        return receipt

    def _report(self, entry: LogEntry, accepted: AcceptedEmail | None) -> Feedback:
        is_proven = accepted is not None and _names_queue_id(accepted.reply_text, entry)
        # An MTA defers again and again: one event for each queue id says so.
        is_delay = entry.kind is FeedbackKind.DELAYED
        timestamp = "" if is_delay else entry.timestamp
        return Feedback(
            source=f"{self._format}-log",
            source_id=event_id(entry.queue_ids[-1], entry.message_id, entry.recipient, entry.kind, timestamp),
            kind=entry.kind,
            proof=Proof.VERIFIED if is_proven else Proof.LIKELY,
            at=entry.at,
            email_id=accepted.id if accepted is not None and is_proven else None,
            message_id=entry.message_id,
            recipient=entry.recipient,
            smtp_code=reply_code_in(entry.diagnostic),
            enhanced_code=entry.enhanced_code or enhanced_code_in(entry.diagnostic),
            diagnostic=entry.diagnostic,
            remote_server=entry.remote_server,
        )


def _names_queue_id(reply: str, entry: LogEntry) -> bool:
    words = set(re.findall(r"[0-9A-Za-z-]+", reply))
    return not words.isdisjoint(entry.queue_ids)


def follow(
    tail: LogTail,
    file: FollowedFile,
    *,
    is_once: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[FeedbackReceipt]:
    """Record what a log says, and follow it as it grows; yield what became of each batch.

    While the delivery log cannot be written, nothing more is read, and it is tried again each second.

    Args:
        tail: records the entries.
        file: the log.
        is_once: whether to end where the log ends now.
        sleep: waits a number of seconds.
        clock: returns seconds that never go back.

    Raises:
        LogUnavailable: `is_once`, and the delivery log cannot be written.
    """
    for line in file.lines_before():
        tail.remember(line)
    checkpoints: deque[tuple[float, Place]] = deque()
    while True:
        for line in file.lines():
            tail.read(line)
            if tail.is_full:
                yield _flush(tail, is_once=is_once, sleep=sleep)
        yield _flush(tail, is_once=is_once, sleep=sleep)
        tail.warn_if_unrecognized(is_end=is_once)
        if is_once:
            yield tail.flush(is_end=True)
            file.save(file.place)
            return
        checkpoints.append((clock(), file.place))
        _save(file, tail, checkpoints, now=clock())
        sleep(_POLL_SECONDS)


def _flush(tail: LogTail, *, is_once: bool, sleep: Callable[[float], None]) -> FeedbackReceipt:
    is_told = False
    while True:
        try:
            return tail.flush()
        except LogUnavailable as error:
            if is_once:
                raise
            if not is_told:
                _log.warning("feedback waits for the delivery log: %s", error.with_fix)
            is_told = True
            sleep(_POLL_SECONDS)


def _save(file: FollowedFile, tail: LogTail, checkpoints: deque[tuple[float, Place]], *, now: float) -> None:
    """Save a place before which no entry waits: after a restart, those after it are read again."""
    if not tail.is_waiting:
        file.save(checkpoints[-1][1])
        checkpoints.clear()
    while checkpoints and checkpoints[0][0] <= now - _SECONDS_FOR_OUTCOME - _POLL_SECONDS:
        file.save(checkpoints.popleft()[1])
