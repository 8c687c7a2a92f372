"""Detects when a list in Redis may have a new message, without taking the message.

A worker whose lists were empty waits until Redis reports a change. It uses the server-assisted client-side
caching of Redis 6, which sends its reports to a second connection (CLIENT TRACKING with REDIRECT).
"""

from __future__ import annotations

import logging
import ssl
import time
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError, ResponseError

_log = logging.getLogger("mailctl.worker")
#: The channel to which Redis publishes the keys that have changed.
_REPORTS_CHANNEL = "__redis__:invalidate"
#: The first version of the protocol (RESP3) in which Redis sends reports without a subscription.
_PUSHING_PROTOCOL = 3
#: Seconds after which empty lists are read again although no change was reported, and the minimum after a
#: change: each message of a busy queue is reported to all workers that wait.
_LONGEST_WAIT, _SHORTEST_WAIT = 1.0, 0.01
#: Seconds of silence after which the connection for reports is pinged, and seconds that Redis has to reply:
#: a firewall may drop an idle connection without telling either side.
_SILENT_SECONDS, _REPLY_SECONDS = 15.0, 5.0
#: Bytes that are read at a time.
_READ_BYTES = 65536


class RedisListWatch:
    """Watches the lists that one connection to Redis has read.

    Args:
        channel: the kombu channel that owns the connection.
        hub: the event loop of the worker; None if it has none.
    """

    def __init__(self, channel: Any, hub: Any) -> None:
        self._channel = channel
        self._hub = hub
        #: Whether Redis does not allow tracking, or there is no event loop that could wait.
        self._is_disabled = hub is None
        self._reports: Any = None
        #: The file descriptor of that connection, which the event loop watches.
        self._descriptor: int | None = None
        #: The socket over which reads are tracked: a connection that is opened again has another.
        self._tracked_socket: Any = None
        self._waits_since: float | None = None
        self._has_changed = False
        #: When Redis has last sent something over the connection for reports, and when it was last asked.
        self._heard_at = self._asked_at = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether the lists were empty, and it is too early to read them again."""
        if self._waits_since is None:
            return False
        pause = _SHORTEST_WAIT if self._has_changed else _LONGEST_WAIT
        return time.monotonic() - self._waits_since < pause

    def prepare(self, connection: Any) -> bool:
        """Make Redis report changes of what a connection reads from now on; return whether it does.

        Raises:
            ConnectionError: Redis cannot be reached (of `redis.exceptions`).
        """
        if self._is_disabled:
            return False
        self._waits_since, self._has_changed = None, False
        if connection._sock is not self._tracked_socket or not self._is_alive():
            self.close()
            try:
                self._connect(connection)
            except ResponseError as error:
                self.disable(error)
        return not self._is_disabled

    def disable(self, error: ResponseError) -> None:
        """Stop watching, because the Redis user may not execute the commands that this needs."""
        _log.warning(
            "the Redis user may not execute EVAL and CLIENT TRACKING (%s): a worker that is killed may"
            " lose a message that it has just taken",
            type(error).__name__,
        )
        self._is_disabled = True
        self.close()

    def wait(self) -> None:
        """Wait for a change of the lists, which were empty."""
        self._waits_since = time.monotonic()
        if self._has_changed:
            self._wake()

    def close(self) -> None:
        """Close the connection for reports."""
        reports, self._reports, self._tracked_socket = self._reports, None, None
        descriptor, self._descriptor = self._descriptor, None
        self._waits_since = None
        if descriptor is not None:
            self._hub.remove_reader(descriptor)
        if reports is not None:
            with suppress(RedisError, OSError):
                reports.disconnect()

    def _is_alive(self) -> bool:
        """Whether the connection for reports works, as far as is known; ping it after a long silence."""
        now = time.monotonic()
        if self._asked_at > self._heard_at:
            return now - self._asked_at < _REPLY_SECONDS
        if now - self._heard_at > _SILENT_SECONDS:
            self._asked_at = now
            try:
                self._reports.send_command("PING", check_health=False)
            except (RedisError, OSError):
                return False
        return True

    def _connect(self, connection: Any) -> None:
        pool = self._channel.pool
        self._reports = reports = pool.connection_class(**pool.connection_kwargs)
        reports.connect()
        client_id = _execute(reports, "CLIENT", "ID")
        if int(reports.protocol) < _PUSHING_PROTOCOL:
            _execute(reports, "SUBSCRIBE", _REPORTS_CHANNEL)
        # NOLOOP: without the changes that this connection makes itself.
        _execute(connection, "CLIENT", "TRACKING", "ON", "REDIRECT", str(client_id), "NOLOOP")
        reports._sock.settimeout(0)
        self._descriptor = reports._sock.fileno()
        self._hub.add_reader(self._descriptor, self._read_reports)
        self._tracked_socket = connection._sock
        self._heard_at = time.monotonic()

    def _read_reports(self) -> None:
        """Read what Redis has reported; which lists have changed is of no interest."""
        if not self._has_changed:
            self._has_changed = True
            self._wake()
        self._heard_at = time.monotonic()
        with suppress(OSError):
            try:
                while self._reports._sock.recv(_READ_BYTES):
                    pass
            except (BlockingIOError, ssl.SSLWantReadError):
                return
        self.close()  # Redis has closed the connection

    def _wake(self) -> None:
        """Wake the event loop as soon as the lists may be read again."""
        if self.is_waiting:
            self._hub.call_later(_SHORTEST_WAIT, _do_nothing)


def _do_nothing() -> None:
    """Only wake the event loop."""


def _execute(connection: Any, *command: str) -> Any:
    connection.send_command(*command)
    return connection.read_response()
