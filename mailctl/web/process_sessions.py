"""Sessions that began with the key of a process, and end with it: the delivery log does not know that key."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from mailctl.delivery_log.web_sessions import SESSION_LIFETIME, new_session_token, session_digest

if TYPE_CHECKING:
    from collections.abc import Callable


class ProcessSessions:
    """The sessions of one process; thread-safe.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        #: When each session expires, by the hash of its token.
        self._expiries: dict[str, float] = {}

    def begin(self) -> str:
        """Begin a session, and return its token."""
        token, now = new_session_token(), self._clock()
        with self._lock:
            self._expiries = {digest: until for digest, until in self._expiries.items() if until > now}
            self._expiries[session_digest(token)] = now + SESSION_LIFETIME.total_seconds()
        return token

    def is_valid(self, token: str) -> bool:
        """Whether a token is that of a session that has not ended."""
        with self._lock:
            return self._expiries.get(session_digest(token), 0.0) > self._clock()

    def end(self, token: str) -> None:
        """End a session; an unknown token changes nothing."""
        with self._lock:
            self._expiries.pop(session_digest(token), None)
