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
        #: For each tag whose reply cannot come any more, when nothing is expected of it any longer.
        self._lost: dict[str, float] = {}
        #: Whether messages were lost that have not been looked for.
        self.is_due = False

    def __len__(self) -> int:
        return len(self._lost)

    def expect(self, tag: str) -> None:
        """Note that Redis is asked to record a message under a tag."""
        self._expected.add(tag)

    def settle(self, tag: str) -> None:
        """Note that the message was received, or that there is none."""
        self._expected.discard(tag)

    def lose(self, tag: str) -> None:
        """Note that the reply will not be read, if it has not been."""
        if tag in self._expected:
            self._expected.remove(tag)
            self._lost[tag] = time.monotonic() + _LATE_SECONDS
            self.is_due = True

    def lose_all(self) -> None:
        """Note that all connections are lost."""
        for tag in tuple(self._expected):
            self.lose(tag)

    def put_back(self, return_messages: Callable[[Sequence[str]], Iterable[str]]) -> None:
        """Return the messages that Redis has recorded.

        Args:
            return_messages: returns the messages of tags to their queues, as far as they are recorded. Its
                results are the tags of these.
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
