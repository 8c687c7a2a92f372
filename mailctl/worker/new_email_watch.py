"""The watch over new emails: a relay that rests learns at once of those that are left to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mailctl.delivery_log.storage.change_detector import ChangeDetector
from mailctl.delivery_log.storage.notifications import Listener

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from sqlalchemy import Engine

#: Seconds between two looks whether a local log has changed, which cost next to nothing.
_POLL_SECONDS = 0.02
#: Seconds between two looks, while it waits for a server, whether the wait has to end.
_SERVER_WAIT_SECONDS = 0.2


class NewEmailWatch:
    """Waits until there are new emails that are left to relays, as far as the delivery log can tell.

    Args:
        engine: of the delivery log.
        stopped: ends each wait when it is set.
        has_new: whether there are such emails, asked after each change of a log in SQLite.
    """

    def __init__(self, engine: Engine, *, stopped: threading.Event, has_new: Callable[[], bool]) -> None:
        self._stopped = stopped
        self._has_new = has_new
        self._detector = ChangeDetector(engine)
        self._listener = Listener(engine)

    def start(self) -> bool:
        """Start watching, if it has not started, and return whether new emails are noticed at once."""
        return self._detector.is_sqlite or self._listener.listen()

    def wait(self, seconds: float) -> bool:
        """Wait until there are new emails, or for so many seconds; return whether there are."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self._stopped.is_set():
            if self._detector.is_sqlite:
                if self._is_new_in_file():
                    return True
                self._stopped.wait(min(left, _POLL_SECONDS))
            elif not self._listener.is_open:
                self._stopped.wait(left)
            elif self._listener.wait(min(left, _SERVER_WAIT_SECONDS)):
                return True
        return False

    def close(self) -> None:
        """Close the connections to the delivery log."""
        self._detector.close()
        self._listener.close()

    def _is_new_in_file(self) -> bool:
        if not self._detector.may_have_changed():
            return False
        self._detector.mark_seen()
        return self._has_new()
