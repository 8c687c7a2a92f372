"""Takes a message from Redis and records it as unacknowledged in one step, so that no crash loses it.

kombu takes a message with BRPOP and records it with another command. If the worker dies between the two, or
Redis replies over a connection that is lost, the message is gone. The delivery log returns emails, but a
message for a task of the service exists nowhere else.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from queue import Empty
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, ResponseError

from mailctl.worker.consumer_activity import is_stopping
from mailctl.worker.redis_settlements import SETTLEMENT_ERRORS, acknowledgement

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.worker.redis_heartbeats import MessageHeartbeats
    from mailctl.worker.redis_list_watch import RedisListWatch
    from mailctl.worker.redis_settlements import PendingSettlements
    from mailctl.worker.redis_unread import UnreadMessages

#: Takes the oldest message of the first list that has one, and replies as BRPOP does. Redis reports the next
#: change of the lists that the script has read. The last command makes Redis refuse the script where it may
#: not write, such as on a replica. If Redis refuses HSET, kombu removes what the script has recorded.
#: Keys: the lists, the hash and the index of unacknowledged messages, the index of heartbeats.
#: Arguments: the tag; the time of this host; the time of Redis, or nothing for no heartbeat; the name of each
#: list's queue in JSON.
_POP_SCRIPT = b"""
local lists = #ARGV - 3
for i = 1, lists do
  local message = redis.call('LINDEX', KEYS[i], -1)
  if message then
    redis.call('ZADD', KEYS[lists + 2], ARGV[2], ARGV[1])
    if ARGV[3] ~= '' then redis.call('ZADD', KEYS[lists + 3], ARGV[3], ARGV[1]) end
    redis.call('HSET', KEYS[lists + 1], ARGV[1], '[' .. message .. ', "", ' .. ARGV[3 + i] .. ']')
    local taken = redis.pcall('RPOP', KEYS[i])
    if type(taken) == 'table' then
      redis.call('HDEL', KEYS[lists + 1], ARGV[1])
      redis.call('ZREM', KEYS[lists + 2], ARGV[1])
      if ARGV[3] ~= '' then redis.call('ZREM', KEYS[lists + 3], ARGV[1]) end
      return taken
    end
    return {KEYS[i], message}
  end
end
redis.call('ZREM', KEYS[lists + 2], ARGV[1])
return false
"""
#: How Redis begins its refusal of a script, or of a command in one, that the user may not execute.
_REFUSALS = ("unknown command", "ACL failure", "The user executing the script")
#: The attribute of a Redis channel with its `RecordedPop`.
POP_ATTRIBUTE = "mailctl_pop"


@dataclass(frozen=True, kw_only=True)
class _QueueLists:
    """The lists of a queue, encoded: they are named twice a message."""

    #: The key of the list of each priority.
    keys: tuple[bytes, ...]
    #: The name of the queue in JSON.
    name: bytes


class RecordedPop:
    """Takes messages for a kombu channel to Redis, in place of its BRPOP.

    Where Redis does not allow scripts or tracking, kombu's BRPOP remains.

    Args:
        channel: the channel.
        unread: the messages that this worker has not received.
        pending: the settlements that Redis has not confirmed.
        heartbeats: the heartbeats of the channel's messages.
        watch: waits for a change while the lists are empty.
        at_exit: called before the channel of a stopping worker is closed.
    """

    def __init__(
        self,
        channel: Any,
        unread: UnreadMessages,
        pending: PendingSettlements,
        heartbeats: MessageHeartbeats,
        watch: RedisListWatch,
        *,
        at_exit: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._unread = unread
        self._pending = pending
        self._heartbeats = heartbeats
        self._watch = watch
        self._at_exit = at_exit
        self._start_brpop, self._read_reply = channel._brpop_start, channel._brpop_read
        self._close_channel = channel.close
        #: The tag of the last request; empty for a BRPOP.
        self._tag = ""
        self._lists: dict[str, _QueueLists] = {}
        #: The tag under which Redis has recorded the message that is delivered now.
        self.recorded_tag = ""
        channel._brpop_start, channel._brpop_read, channel.close = self.start, self.read, self.close
        channel.handlers["BRPOP"] = self.read
        setattr(channel, POP_ATTRIBUTE, self)

    def start(self, timeout: float | None = None) -> None:
        """Request the next message, unless the lists were empty and have not changed since.

        Args:
            timeout: seconds that BRPOP waits for a message, where it is used.

        Raises:
            ConnectionError: Redis cannot be reached (of `redis.exceptions`).
        """
        if self._watch.is_waiting:
            return
        self._unread.mark_lost(self._tag)
        self._tag = ""
        channel = self._channel
        connection = channel.client.connection
        if not self._watch.prepare(connection):
            self._start_brpop(timeout)
            return
        queues = channel._queue_cycle.consume(len(channel.active_queues))
        if not queues:
            return
        self._tag = str(uuid.uuid4())
        self._unread.expect(self._tag)
        channel._in_poll, channel._brpop_sent_at = connection, time.monotonic()
        connection.send_command(*self._command(queues))

    def read(self, **options: Any) -> Any:
        """Read the reply, and deliver the message.

        Raises:
            Empty: there is none.
            Exception: as kombu's method.
        """
        if not self._channel._in_poll:
            # Redis has closed the connection, or says that it sends no reports any more.
            self._channel.client.connection.disconnect()
            raise Empty
        self.recorded_tag = self._tag
        try:
            result = self._read_reply(**options)
        except Empty:
            if self._tag:
                self._watch.wait()
            self.settle()
            raise
        except ResponseError as error:
            if not self._tag or not _is_refusal(error):
                raise
            self._watch.disable(error)
            self.settle()
            raise Empty from None
        # If still recorded, nobody has to acknowledge it, or kombu has put it back over another channel.
        self.discard()
        self.settle()
        return result

    def settle(self) -> None:
        """Note that the message was received, or that there is none."""
        self._unread.settle(self._tag)
        self.recorded_tag = ""

    def discard(self) -> None:
        """Delete what Redis has recorded of a message that nobody holds."""
        if self.recorded_tag:
            deletion = acknowledgement(self.recorded_tag)
            try:
                deletion(self._channel)
            except SETTLEMENT_ERRORS as error:
                self._pending.add_failed(deletion, error)
            self.settle()

    def close(self) -> None:
        """Close the channel."""
        # kombu may close it again.
        if is_stopping() and not self._channel.closed:
            self._at_exit()
        try:
            self._close_channel()
        finally:
            self._watch.close()

    def _command(self, queues: list[str]) -> tuple[Any, ...]:
        channel, heartbeats = self._channel, self._heartbeats
        lists = [self._encoded_lists(queue) for queue in queues]
        keys = [
            key for keys_of_step in zip(*(each.keys for each in lists), strict=True) for key in keys_of_step
        ]
        more = [channel.unacked_key, channel.unacked_index_key]
        if heartbeats.is_enabled:  # otherwise the user of Redis may not use its key
            more.append(heartbeats.key)
        keys += [self._encode_key(key) for key in more]
        arguments = (self._tag, time.time(), heartbeats.now() if heartbeats.is_enabled else "")
        names = [each.name for each in lists] * len(channel.priority_steps)
        return ("EVAL", _POP_SCRIPT, len(keys), *keys, *arguments, *names)

    def _encoded_lists(self, queue: str) -> _QueueLists:
        if queue not in self._lists:
            channel = self._channel
            keys = [self._encode_key(channel._q_for_pri(queue, step)) for step in channel.priority_steps]
            self._lists[queue] = _QueueLists(keys=tuple(keys), name=json.dumps(queue).encode())
        return self._lists[queue]

    def _encode_key(self, key: str) -> bytes:
        return f"{self._channel.global_keyprefix}{key}".encode()


def pop_of(channel: Any) -> RecordedPop | None:
    """Return the `RecordedPop` of a channel; None if it has only kombu's BRPOP."""
    pop: RecordedPop | None = getattr(channel, POP_ATTRIBUTE, None)
    return pop


def split_record(stored: bytes) -> tuple[bytes, str]:
    """Return the message in a record of the script, and the name of its queue."""
    message, _, queue = stored[1:-1].rpartition(b', "", ')
    return message, json.loads(queue)


def _is_refusal(error: ResponseError) -> bool:
    return isinstance(error, NoPermissionError) or str(error).startswith(_REFUSALS)
