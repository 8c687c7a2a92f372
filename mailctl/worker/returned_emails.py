"""Emails that processes without a session return to the log, where those that have few sessions find them.

A broker gives messages to all processes alike. If a mail server allows fewer sessions than there are
processes, most messages come to a process that cannot send them.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.publications import RETURNED_FOR
from mailctl.enqueue.group_publisher import own_task_kinds
from mailctl.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mailctl.runtime import Runtime
    from mailctl.smtp.sender import Sender
    from mailctl.worker.in_flight import EmailsInFlight

_log = logging.getLogger("mailctl.delivery")

#: Sessions of a process that are so few that other processes may have none.
FEW_SESSIONS = 5
#: Seconds for which a process without a session waits for one: meanwhile messages come to the others.
STANDBY_SECONDS = 3.0
#: Seconds without a message and without a returned email after which none are looked for any more.
_SEARCH_SECONDS = 3.0
#: Seconds between two looks.
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search for returned emails."""

    #: Emails of this process; others are taken from the same queues.
    like: Sequence[str]
    server: str
    #: Begins to send emails, and returns how many it could claim.
    begin: Callable[[Sequence[str]], int]


class ReturnedEmails:
    """Leaves emails to other processes, and takes those that others have left to this one.

    Args:
        runtime: the parts of this process.
        sender: tells how many sessions this process has.
        in_flight: tells for how many more emails there is room.
    """

    def __init__(self, runtime: Runtime, sender: Sender, in_flight: EmailsInFlight) -> None:
        self._app = runtime.app
        self._claims = runtime.claims
        self._publications = runtime.publications
        self._sender = sender
        self._in_flight = in_flight
        # With messages in full, a process that does not know the log may send the emails.
        self._is_allowed = runtime.settings.mailctl_messages != "full"
        self._lock = threading.Lock()
        #: The latest search for each mail server, and when it ends.
        self._searches: dict[str, tuple[Search, float]] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def return_unstarted(self, ids: Sequence[str], servers: Iterable[str], *, reason: str) -> int:
        """Return published emails that are not claimed to the log; return how many there were.

        Args:
            ids: the emails.
            servers: the mail servers that they would go by.
            reason: why they are not sent, for operators.

        Raises:
            LogUnavailable: the delivery log does not answer.
        """
        after = timedelta() if self.has_sessions(servers) else RETURNED_FOR
        return self._claims.return_unstarted(ids, reason=reason, after=after)

    def leave_to_others(self, ids: Sequence[str], servers: Iterable[str], *, reason: str) -> bool:
        """Return emails at once if other processes have all sessions; return whether that was done.

        It is not if the log does not say yet that one of them was published: it would say so afterwards.

        Args:
            ids: as for `return_unstarted`.
            servers: as for `return_unstarted`.
            reason: as for `return_unstarted`.

        Raises:
            LogUnavailable: the delivery log does not answer.
        """
        if not self._is_allowed or self.has_sessions(servers):
            return False
        return self.return_unstarted(ids, servers, reason=reason) == len(ids)

    def has_sessions(self, servers: Iterable[str]) -> bool:
        """Whether this process has, or may open, a session with any of the mail servers; it asks for one."""
        return any(self._sender.capacity(server, 1) for server in servers)

    def stand_by(self, servers: Iterable[str], *, until: float) -> None:
        """Wait until this process may have a session, or a time of `time.monotonic`."""
        while self._is_allowed and not self.has_sessions(servers) and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)

    def look_for(self, search: Search) -> None:
        """Look for returned emails in a thread as long as there are any, if this process has few sessions."""
        if not self._is_allowed or self._sender.capacity(search.server, 0) > FEW_SESSIONS:
            return
        with self._lock:
            self._searches[search.server] = search, time.monotonic() + _SEARCH_SECONDS
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mailctl-returned", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Take no more."""
        self._closed.set()
        if (thread := self._thread) is not None:
            thread.join()

    def _run(self) -> None:
        while searches := self._current():
            if not sum(self._take(search) for search in searches):
                self._closed.wait(_LOOK_SECONDS)

    def _current(self) -> list[Search]:
        """Return the searches that have not ended; without any, the thread ends."""
        with self._lock:
            now = time.monotonic()
            found = [search for search, until in self._searches.values() if now < until]
            if self._closed.is_set() or not found:
                self._thread = None
                return []
            return found

    def _take(self, search: Search) -> int:
        """Begin returned emails for which there is room; return how many."""
        sessions = self._sender.capacity(search.server, 0)
        if not 0 < sessions <= FEW_SESSIONS:
            return 0
        try:
            found = self._publications.find_due(
                search.like, limit=sessions, own_task_kinds=own_task_kinds(self._app)
            )
            begun = self._begin(search, found) if found else 0
        except LogUnavailable:
            return 0
        except Exception as error:  # without the traceback, which may quote the emails
            _log.error("cannot take returned emails (%s)", type(error).__name__)
            return 0
        if begun:
            self.look_for(search)
        return begun

    def _begin(self, search: Search, found: Sequence[str]) -> int:
        _, room = self._in_flight.wait_for_room(
            is_campaign=False,
            wanted={search.server: len(found)},
            until=time.monotonic() + _LOOK_SECONDS,
        )
        return search.begin(found[:room]) if room else 0
