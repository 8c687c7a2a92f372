"""Emails that are better left in the delivery log than in a process that would only keep them waiting.

A broker gives messages to all processes alike, one by one. If a mail server allows fewer sessions than there
are processes, most messages reach a process without a session. If the server takes long for each email, a
process that gets single emails sends only one at a time. Emails that such a process returns to the log are
sent in a group, or by a process with a session.
"""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING

from mailctl.delivery_log.due import GroupableEmails
from mailctl.delivery_log.send_limits import SendLimits
from mailctl.delivery_log.session_shares import SessionShares
from mailctl.domain.routing import DEFAULT_SERVER
from mailctl.domain.send_rates import server_scope
from mailctl.enqueue.group_publisher import own_task_kinds
from mailctl.enqueue.grouping import MAX_SINGLE_EMAILS, grouped_queues
from mailctl.enqueue.live_workers import LiveWorkers
from mailctl.settings import GROUPS_QUEUE
from mailctl.worker.relay_clocks import IntervalTimer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mailctl.runtime import Runtime

_NO_SESSION = "other processes have all sessions that the mail server allows"
_IN_GROUP = "single emails take long, so it is sent in a group"
#: Seconds for which it is cached whether all sessions are in use.
_LOOK_SECONDS = 0.2
#: An email that takes more seconds than the first is slow; a gap of more than the second ends a streak.
_LONG_SECONDS, _PAUSE_SECONDS = 0.05, 0.5


class SlowStreak:
    """Tells whether the single emails of a process take long, and come without a pause."""

    def __init__(self) -> None:
        self._count = 0
        self._ended_at = 0.0

    def begin(self) -> float:
        """Note that an email has come; return the time."""
        now = time.monotonic()
        if now > self._ended_at + _PAUSE_SECONDS:
            self._count = 0
        return now

    def end(self, began_at: float, *, is_known: bool = True) -> None:
        """Note that the email of a time has ended; one that the log does not have yet is ignored."""
        if not is_known:
            return
        self._ended_at = time.monotonic()
        self._count = self._count + 1 if self._ended_at > began_at + _LONG_SECONDS else 0

    def leave(self) -> None:
        """Note that an email was left to others: the next one comes directly after it."""
        self._ended_at = time.monotonic()

    @property
    def is_active(self) -> bool:
        """Whether so many were slow that more must wait on the broker than relays publish one by one."""
        return self._count >= MAX_SINGLE_EMAILS and time.monotonic() <= self._ended_at + _PAUSE_SECONDS


class LogBacklog:
    """Tells which emails wait in the log, and which of them a process may take from there.

    While all sessions that the only mail server allows are in use, relays publish no emails that may travel
    in groups: processes that have sessions take them from the log as their sessions become free.

    Args:
        runtime: the parts of this process.
        capacity: returns how many messages this process may send at a time by the mail server of a name;
            None for a process that sends none.
    """

    def __init__(self, runtime: Runtime, *, capacity: Callable[[str], int] | None = None) -> None:
        self._runtime = runtime
        self._workers = LiveWorkers(runtime.workers)
        #: The single emails of this process.
        self.streak = SlowStreak()
        self._capacity = capacity
        self._look_timer = IntervalTimer(_LOOK_SECONDS)
        self._are_sessions_in_use = False

    def grouped_queues(self) -> frozenset[str]:
        """Return the queues whose emails may travel in groups.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        is_possible = self._runtime.settings.mailctl_messages != "full"
        return grouped_queues(self._workers.list()) if is_possible else frozenset()

    def are_single_emails_slow(self) -> bool:
        """Whether single emails come faster than this process can send them through the only mail server.

        False if they wait for a rate: groups would not be faster.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        if self._shares is None or not self.streak.is_active:
            return False
        is_paced = self._runtime.mail_servers.by_name[DEFAULT_SERVER].rate is not None
        return not is_paced and not self._is_rate_learned()

    def are_sessions_in_use(self) -> bool:
        """Whether all sessions that the mail server allows are in use, by processes that look for emails.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        if self._shares is None or self._has_all_connections():
            return False
        if self._look_timer.restart_if_due():
            # A process of another worker might have all sessions, and not send these emails.
            has_all = all(GROUPS_QUEUE in worker.queues for worker in self._workers.list())
            self._are_sessions_in_use = has_all and self._shares.are_all_in_use()
        return self._are_sessions_in_use

    @cached_property
    def _shares(self) -> SessionShares | None:
        """The sessions of all workers to the only mail server; None if there are several, or none."""
        is_only = list(self._runtime.circuits_by_server) == [DEFAULT_SERVER]
        return SessionShares(self._runtime.engine, DEFAULT_SERVER) if is_only else None

    def _is_rate_learned(self) -> bool:
        return SendLimits(self._runtime.engine).is_learned(server_scope(DEFAULT_SERVER))

    def _has_all_connections(self) -> bool:
        """Whether this process may open as many sessions as its settings allow."""
        if self._capacity is None:
            return False
        connections = self._runtime.mail_servers.by_name[DEFAULT_SERVER].connections
        return self._capacity(DEFAULT_SERVER) >= connections

    def reason_to_leave(self, servers: Iterable[str], *, queue: str, has_room: Callable[[], bool]) -> str:
        """Return why emails of a message are left in the log, because others can send them sooner.

        Args:
            servers: the mail servers that they would go by.
            queue: the queue of the message; that of groups for a group.
            has_room: returns whether this process can send more emails now.

        Returns:
            The reason, for operators; "" if this process sends them.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        is_single, are_in_use = queue != GROUPS_QUEUE, self.are_sessions_in_use()
        if are_in_use and self._capacity and not any(map(self._capacity, servers)):
            why = _NO_SESSION
        elif is_single and self.are_single_emails_slow() and (are_in_use or has_room()):
            why = _IN_GROUP  # at once: otherwise a relay might publish it by itself again
        else:
            return ""
        return why if not is_single or queue in self.grouped_queues() else ""

    def may_take(self) -> bool:
        """Whether emails may wait in the log that this process may take.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        return self.are_single_emails_slow() or self.are_sessions_in_use()

    def find_waiting(self, *, limit: int) -> list[str]:
        """Return emails that this process may send; they are not reserved until a worker claims them.

        Args:
            limit: how many at most.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        waiting = GroupableEmails(
            queues=self.grouped_queues(), own_task_kinds=own_task_kinds(self._runtime.app)
        )
        return self._runtime.publications.find_due(waiting, limit=limit)
