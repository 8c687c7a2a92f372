"""Settlements of messages on Redis that outlive their connection: acknowledgements, and returns to the queue.

Redis settles a message by its tag, over any connection. kombu settles it over the connection that it came
by, once: if that fails, the message stays unacknowledged, and its prefetch slot is never free again.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from kombu.utils.json import dumps
from redis.exceptions import RedisError

from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("mailctl.worker")
#: Errors of a command that Redis did not execute, or to which it did not reply.
SETTLEMENT_ERRORS = (RedisError, OSError)


class PendingSettlements:
    """Settlements that Redis has not confirmed; the consumer's thread repeats them until it does."""

    def __init__(self) -> None:
        self._pending: deque[Callable[[Any], None]] = deque()
        self._is_failing = False

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, settlement: Callable[[Any], None]) -> None:
        """Add a settlement, which is a function of an open Redis channel."""
        self._pending.append(settlement)

    def add_failed(self, settlement: Callable[[Any], None], error: Exception) -> None:
        """Add a settlement that has failed, and say so once until one succeeds."""
        self.add(settlement)
        if not self._is_failing:
            self._is_failing = True
            _log.warning(
                "Redis has not confirmed that a message was acknowledged or returned (%s);"
                " trying again until it does",
                type(error).__name__,
            )

    def settle(self, channel: Any) -> None:
        """Repeat all settlements over a channel, as far as Redis confirms them."""
        count = len(self._pending)
        for _ in range(count):
            try:
                self._pending[0](channel)
            except SETTLEMENT_ERRORS as error:
                _log.debug("Redis has still not confirmed what became of messages: %s", type(error).__name__)
                return
            self._pending.popleft()
        if self._is_failing and not self._pending:
            self._is_failing = False
            _log.info("Redis has confirmed the acknowledgement or return of %s", pluralize(count, "message"))


def acknowledgement(tag: str) -> Callable[[Any], None]:
    """Return a settlement that deletes an unacknowledged message."""

    def settle(channel: Any) -> None:
        channel.qos._remove_from_indices(tag).execute()

    return settle


def return_to_queue(tag: str, *, at_tail: bool = False) -> Callable[[Any], None]:
    """Return a settlement that moves an unacknowledged message back to its queue.

    Args:
        at_tail: whether the message becomes the last one of its queue, not the next one.
    """

    def settle(channel: Any) -> None:
        type(channel.qos).restore_by_tag(channel.qos, tag, leftmost=at_tail)

    return settle


def return_unrecorded(
    pending: PendingSettlements, raw: Any, exchange: str, routing_key: str, tag: str
) -> Callable[[Any], None]:
    """Return a settlement that puts back a message of which only this process may have a copy.

    Redis removed it from its queue, and did not confirm that it recorded it as unacknowledged.
    """

    def settle(channel: Any) -> None:
        with channel.conn_or_acquire() as client:
            if client.hexists(channel.unacked_key, tag):
                return_to_queue(tag)(channel)
                return
            priority = channel._get_message_priority(raw, reverse=False)
            for queue in channel._lookup(exchange, routing_key):
                client.rpush(channel._q_for_pri(queue, priority), dumps(raw))  # type: ignore[no-untyped-call]
        # The command without a reply may still be on its way: then the message would be there twice.
        pending.add(acknowledgement(tag))

    return settle
