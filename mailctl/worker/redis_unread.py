"""Messages that Redis has recorded for a worker that may not have received them: a connection was lost."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from mailctl.worker.redis_settlements import SETTLEMENT_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_log = logging.getLogger("mailctl.worker")
#: Seconds for which a command may still be on its way to Redis after its connection was lost.
_LATE_SECONDS = 900.0


class UnreadMessages:
    """The tags under which Redis records messages, until their replies are read.

    All connections of a worker share one object: a message is returned over whatever connection there is.
    """

    def __init__(self) -> None:
        self._expected: set[str] = set()
        #: The tags whose reply can no longer come, each with the time until which to look for its message.
        self._lost: dict[str, float] = {}
        #: Whether tags were lost that have not been looked for yet.
        self.is_due = False

    def __len__(self) -> int:
        return len(self._lost)

    def expect(self, tag: str) -> None:
        """Note that Redis is asked to record a message under a tag."""
        self._expected.add(tag)

    def settle(self, tag: str) -> None:
        """Note that the message was received, or that there is none."""
        self._expected.discard(tag)

    def mark_lost(self, tag: str) -> None:
        """Note that the reply for a tag will not be read, unless it was read already."""
        if tag in self._expected:
            self._expected.remove(tag)
            self._lost[tag] = time.monotonic() + _LATE_SECONDS
            self.is_due = True

    def mark_all_lost(self) -> None:
        """Note that all connections are lost."""
        for tag in tuple(self._expected):
            self.mark_lost(tag)

    def put_back(self, return_messages: Callable[[Sequence[str]], Iterable[str]]) -> None:
        """Return the messages that Redis has recorded.

        Args:
            return_messages: returns the recorded messages of these tags to their queues, and yields the tags
                of the messages that it has returned.
        """
        if not self._lost:
            return
        try:
            found = set(return_messages(tuple(self._lost)))
        except SETTLEMENT_ERRORS as error:
            _log.debug("cannot return messages that were not received: %s", type(error).__name__)
            return
        now = time.monotonic()
        self._lost = {tag: until for tag, until in self._lost.items() if tag not in found and until > now}
        self.is_due = False
