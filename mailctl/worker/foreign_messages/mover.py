"""Moves messages of other apps, unchanged, between queues of a broker that kombu emulates.

On Redis a message leaves the hash of unacknowledged messages and enters the list of its queue in one step, so
that it is neither lost nor duplicated.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kombu.transport import virtual
from kombu.utils.json import JSONEncoder

from mailctl.worker.foreign_messages.message import BATCH_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.worker.foreign_messages.message import ForeignMessage

#: Moves a message unless another worker has restored it. The push comes first, because it is the command that
#: fails on a Redis server that is out of memory.
_MOVE_SCRIPT = """
local stored, suffix, message = redis.call('HGET', KEYS[1], ARGV[1]), ARGV[3], ARGV[4]
if not stored then return 0 end
if message == '' then
    if stored:sub(1, 1) ~= '[' or stored:sub(-#suffix) ~= suffix then return 0 end
    message = stored:sub(2, -1 - #suffix)
end
redis.call(ARGV[2], KEYS[3], message)
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
"""


def move_all(
    messages: Sequence[ForeignMessage], queue: str, *, to_head: bool = False
) -> list[Exception | None]:
    """Move messages to a queue; to be called in the consumer's thread.

    Args:
        messages: messages that came over the same channel.
        queue: the name of the queue.
        to_head: whether they become the next messages of the queue, instead of the last.

    Returns:
        For each message the error that kept it from being moved, or None.
    """
    if messages and getattr(messages[0].message.channel, "ack_emulation", False):
        batches = (messages[start : start + BATCH_SIZE] for start in range(0, len(messages), BATCH_SIZE))
        return [error for batch in batches for error in _move_on_redis(batch, queue, to_head=to_head)]
    for each in messages:
        each.message.channel._put(queue, each.raw)
        each.message.ack()
    return [None] * len(messages)


def _move_on_redis(
    messages: Sequence[ForeignMessage], queue: str, *, to_head: bool
) -> list[Exception | None]:
    """Move messages in one round trip, each of them atomically."""
    channel = messages[0].message.channel
    with channel.conn_or_acquire() as client:
        pipe = client.pipeline(transaction=False)
        for each in messages:
            keys, arguments = _script_arguments(each, queue, to_head=to_head)
            pipe.eval(_MOVE_SCRIPT, len(keys), *keys, *arguments)
        results = pipe.execute(raise_on_error=False)
    errors = [result if isinstance(result, Exception) else None for result in results]
    for each, error in zip(messages, errors, strict=True):
        if error is None:
            # Not by `message.ack()`: another worker may have the moved message by now, under the same tag.
            virtual.QoS.ack(channel.qos, each.message.delivery_tag)  # type: ignore[no-untyped-call]
            each.message._state = "ACK"
    return errors


def _script_arguments(foreign: ForeignMessage, queue: str, *, to_head: bool) -> tuple[list[str], list[Any]]:
    message = foreign.message
    channel, info = message.channel, message.delivery_info
    priority = channel._get_message_priority({"properties": message.properties})
    keys = [channel.unacked_key, channel.unacked_index_key, channel._q_for_pri(queue, priority)]
    # kombu stores [message, exchange, routing key].
    suffix = f", {json.dumps(info['exchange'])}, {json.dumps(info['routing_key'])}]"
    stored = "" if foreign.raw is None else json.dumps(foreign.raw, cls=JSONEncoder).encode()
    # kombu adds its key prefix to the commands that it knows, and EVAL is none of them.
    return (
        [channel.global_keyprefix + key for key in keys],
        [message.delivery_tag, "RPUSH" if to_head else "LPUSH", suffix, stored],
    )
