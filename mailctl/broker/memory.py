"""The broker adapter for brokers that kombu emulates: `memory://`, and stores without an adapter here."""

from __future__ import annotations

from mailctl.broker.counting import CountingAdapter
from mailctl.broker.messages import unclaimed_queue


class MemoryAdapter(CountingAdapter):
    """Queries kombu's emulation of a broker."""

    def restore_unclaimed(self, queue: str) -> int:
        """Move the unclaimed messages of a queue back to it, and return their number."""
        channel, source = self._connection.default_channel, unclaimed_queue(queue)
        found = int(channel._size(source))
        for _ in range(found):
            channel._put(queue, channel._get(source))
        return found
