"""Records reports that come at the same time in one transaction, which waits for the disk once."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from mailctl.errors import MailctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailctl.feedback.models import Feedback

#: Reports in one transaction; what is beyond waits for the next.
_MAX_REPORTS = 500


class GroupedRecording:
    """Groups the reports of several threads. A thread that finds none recording records for all that wait.

    Args:
        record: records reports in one transaction, or raises and records none.
    """

    def __init__(self, record: Callable[[Sequence[Feedback]], object]) -> None:
        self._record = record
        self._lock = threading.Lock()
        self._waiting: list[tuple[Sequence[Feedback], Future[None]]] = []
        self._is_recording = False

    def add(self, reports: Sequence[Feedback]) -> None:
        """Record reports, and return when they are recorded.

        Raises:
            LogUnavailable: the delivery log cannot be written; nothing of them is recorded.
        """
        done: Future[None] = Future()
        with self._lock:
            self._waiting.append((reports, done))
            is_first, self._is_recording = not self._is_recording, True
        while is_first and (group := self._take()):
            self._record_group(group)
        done.result()

    def _take(self) -> list[tuple[Sequence[Feedback], Future[None]]]:
        """Return what waits; nothing ends the recording of this thread."""
        with self._lock:
            group: list[tuple[Sequence[Feedback], Future[None]]] = []
            count = 0
            while self._waiting and count < _MAX_REPORTS:
                group.append(self._waiting.pop(0))
                count += len(group[-1][0])
            self._is_recording = bool(group)
            return group

    def _record_group(self, group: Sequence[tuple[Sequence[Feedback], Future[None]]]) -> None:
        try:
            self._record([report for reports, _ in group for report in reports])
        except MailctlError as error:
            for _, done in group:
                done.set_exception(error)
        except Exception as error:
            # One report may have spoilt the transaction of all.
            if len(group) == 1:
                group[0][1].set_exception(error)
                return
            for each in group:
                self._record_group([each])
        else:
            for _, done in group:
                done.set_result(None)
