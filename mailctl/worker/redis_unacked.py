"""Makes a worker on Redis restore only unacknowledged messages of its own queues that can be read.

All apps on a Redis database share one hash of unacknowledged messages. kombu restores every message in it
that is older than the visibility timeout of the worker. It deletes a message whose exchange it does not know.
A message that it cannot read ends the worker when it starts, or prevents it from restoring the others.

When the worker loses its connection, a message that it is working on stays unacknowledged: it is
acknowledged over the next connection (`redis_settlements`).
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.worker import state
from kombu.transport.virtual import QoS as VirtualQoS
from kombu.utils.json import loads
from redis.exceptions import ResponseError

from mailctl.broker.broker_type import BrokerType, broker_type_of
from mailctl.broker.messages import unclaimed_queue
from mailctl.worker.consumer_activity import is_stopping
from mailctl.worker.message_strategy import mailctl_task_names
from mailctl.worker.message_validation.redis_messages import is_restorable, stored_task_name
from mailctl.worker.redis_heartbeats import KEY_SUFFIX, MessageHeartbeats
from mailctl.worker.redis_list_watch import RedisListWatch
from mailctl.worker.redis_pop import RecordedPop, pop_of, split_record
from mailctl.worker.redis_settlements import (
    SETTLEMENT_ERRORS,
    PendingSettlements,
    acknowledgement,
    return_to_queue,
    return_unrecorded,
)
from mailctl.worker.redis_unread import UnreadMessages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from celery import Celery

_log = logging.getLogger("mailctl.worker")
#: The attribute of a Redis channel with the handler of the bytes that it popped and has not stored yet.
POPPED_HANDLER_ATTRIBUTE = "mailctl_popped_handler"
#: Seconds after which a worker restores a message that a worker of another program took, or one for a task of
#: another app: the visibility timeout that Celery's workers have by default. With a shorter one a job that
#: still runs would be executed twice.
_FOREIGN_VISIBILITY_SECONDS = 3600.0


def guard_unacked_messages(consumer: Any) -> None:
    """Guard the unacknowledged messages of every Redis connection that a Celery consumer opens."""
    consumer.connection_for_read = partial(
        _connect,
        consumer.app,
        consumer.hub,
        PendingSettlements(),
        UnreadMessages(),
        consumer.connection_for_read,
    )


def _connect(
    app: Celery,
    hub: Any,
    pending: PendingSettlements,
    unread: UnreadMessages,
    connect: Callable[..., Any],
    *args: Any,
    **options: Any,
) -> Any:
    connection = connect(*args, **options)
    if broker_type_of(connection) is BrokerType.REDIS:
        unread.mark_all_lost()
        guard = partial(_guard, app=app, hub=hub, pending=pending, unread=unread)
        transport = connection.transport
        for channel in transport.channels:
            guard(channel)
        transport.Channel = partial(_make_guarded_channel, transport.Channel, guard)
    return connection


def _make_guarded_channel(make: Callable[[Any], Any], guard: Callable[[Any], None], connection: Any) -> Any:
    channel = make(connection)
    guard(channel)
    return channel


def _guard(
    channel: Any, *, app: Celery, hub: Any, pending: PendingSettlements, unread: UnreadMessages
) -> None:
    if channel.ack_emulation:
        put_back_unread = _guard_acknowledgements(channel, app, hub, pending, unread)
        if unread.is_due:
            put_back_unread()
    pending.settle(channel)


def _guard_acknowledgements(
    channel: Any, app: Celery, hub: Any, pending: PendingSettlements, unread: UnreadMessages
) -> Callable[[], None]:
    """Guard the unacknowledged messages of a channel; return a function that puts back unreceived ones."""
    qos = channel.qos
    heartbeats = MessageHeartbeats(channel)
    put_back_unread = partial(unread.put_back, partial(_return_unread, channel))
    RecordedPop(channel, unread, pending, heartbeats, RedisListWatch(channel, hub), at_exit=put_back_unread)
    qos.append = partial(_append, channel, pending, heartbeats.begin_with(qos.append))
    qos.ack = partial(_acknowledge, channel, pending, qos.ack)
    qos.reject = partial(_reject, channel, pending, qos.reject)
    qos.restore_visible = partial(
        _restore_visible,
        channel,
        pending,
        put_back_unread,
        qos.restore_visible,
        app=app,
        heartbeats=heartbeats,
    )
    qos.restore_by_tag = partial(_restore, channel, pending, qos.restore_by_tag, app)
    return put_back_unread


def _acknowledge(channel: Any, pending: PendingSettlements, ack: Callable[[str], None], tag: str) -> None:
    """Acknowledge a message; if that fails, free its prefetch slot, and acknowledge it later."""
    try:
        ack(tag)
    except SETTLEMENT_ERRORS as error:
        VirtualQoS.ack(channel.qos, tag)  # type: ignore[no-untyped-call]
        pending.add_failed(acknowledgement(tag), error)


def _reject(
    channel: Any,
    pending: PendingSettlements,
    reject: Callable[..., None],
    tag: str,
    requeue: bool = False,  # noqa: FBT001, FBT002 - the signature of kombu
) -> None:
    """Reject a message; if that fails, free its prefetch slot, and reject it later."""
    try:
        reject(tag, requeue=requeue)
    except SETTLEMENT_ERRORS as error:
        VirtualQoS.ack(channel.qos, tag)  # type: ignore[no-untyped-call]
        pending.add_failed(return_to_queue(tag, at_tail=True) if requeue else acknowledgement(tag), error)


def _append(
    channel: Any, pending: PendingSettlements, append: Callable[..., None], message: Any, tag: str
) -> None:
    """Store a message as unacknowledged; if Redis refuses that, put it back on its queue."""
    pop = pop_of(channel)
    if pop is not None and pop.recorded_tag:
        _append_recorded(channel, append, message, tag, pop.recorded_tag)
        pop.settle()
        return
    try:
        append(message, tag)
    except ResponseError:
        # Redis executes the other command of a transaction although one has failed.
        with channel.conn_or_acquire() as client:
            pipe = client.pipeline(transaction=False)
            pipe.zrem(channel.unacked_index_key, tag).hdel(channel.unacked_key, tag)
            pipe.execute(raise_on_error=False)
        if handler := getattr(channel, POPPED_HANDLER_ATTRIBUTE, None):
            handler.put_back()
        raise
    except SETTLEMENT_ERRORS:
        info = message.delivery_info
        pending.add(return_unrecorded(pending, message._raw, info["exchange"], info["routing_key"], tag))
        raise


def _append_recorded(
    channel: Any, append: Callable[..., None], message: Any, tag: str, recorded: str
) -> None:
    """Hold a message that Redis has recorded; a repaired message replaces the recorded one."""
    message.delivery_tag = recorded
    if message._raw["properties"].get("delivery_tag") == tag:
        append(message, recorded)
    else:
        VirtualQoS.append(channel.qos, message, recorded)  # type: ignore[no-untyped-call]


def _restore_visible(
    channel: Any,
    pending: PendingSettlements,
    put_back_unread: Callable[[], None],
    restore: Callable[..., None],
    *args: Any,
    app: Celery,
    heartbeats: MessageHeartbeats,
    **options: Any,
) -> None:
    pending.settle(channel)
    put_back_unread()
    try:
        restore(*args, **options)
        if heartbeats.is_enabled:
            heartbeats.renew({*channel.qos._delivered, *_running_tags()})
            _return_silent(channel, app, heartbeats)
    except ResponseError as error:  # then the worker cannot take a message either, and logs that
        _log.debug("cannot restore unacknowledged messages: %s", type(error).__name__)


def _return_silent(channel: Any, app: Celery, heartbeats: MessageHeartbeats) -> None:
    """Return messages for mailctl's tasks whose workers have died; only one message of an email claims it."""
    names = mailctl_task_names(app)
    for tag in heartbeats.find_silent():
        with channel.conn_or_acquire() as client:
            stored = client.hget(channel.unacked_key, tag)
        if not stored:
            heartbeats.forget(tag)
            continue
        try:
            message, exchange, routing_key = _read_stored(stored)
        except (ValueError, TypeError, RecursionError):
            continue  # it is moved aside when it is due
        is_ours = stored_task_name(message) in names and _is_consumed(channel, app, exchange, routing_key)
        if is_ours:
            return_to_queue(tag)(channel)
            _log.info("put a message of a worker that died back on its queue")


def _restore(
    channel: Any,
    pending: PendingSettlements,
    restore: Callable[..., None],
    app: Celery,
    tag: bytes | str,
    client: Any = None,
    leftmost: bool = False,  # noqa: FBT001, FBT002 - the signature of kombu
) -> None:
    """Restore a message if this worker held it, or if it is due for one of this worker's queues."""
    own_tag = tag.decode(errors="replace") if isinstance(tag, bytes) else tag
    if own_tag in channel.qos._delivered:
        if leftmost or is_stopping():
            restore(tag, client, leftmost)
        elif own_tag not in _running_tags():  # the connection is being closed after an error
            pending.add(return_to_queue(own_tag))
        return
    with channel.conn_or_acquire(client) as connected:
        stored = connected.hget(channel.unacked_key, tag)
        try:
            is_left = bool(stored) and not _is_due(channel, app, tag, stored, connected)
        except (ValueError, TypeError, RecursionError) as error:
            try:
                _move_aside(channel, app.conf.task_default_queue, tag, stored, connected, error)
            except ResponseError as refusal:  # the others have to be restored all the same
                _log.debug("cannot move a message aside: %s", type(refusal).__name__)
            return
        if not is_left:
            restore(tag, connected, leftmost)


def _return_unread(channel: Any, tags: Sequence[str]) -> Iterator[str]:
    """Return messages that this worker has not received to their queues, and yield their tags.

    Raises:
        RedisError: Redis does not answer.
    """
    with channel.conn_or_acquire() as client:
        pipe = client.pipeline(transaction=False)
        for tag in tags:
            pipe.hget(channel.unacked_key, tag)
        records = pipe.execute()
        for tag, stored in zip(tags, records, strict=True):
            if stored:
                with suppress(ResponseError):  # it is looked at again
                    _return_recorded(channel, tag, stored, client)
                    yield tag


def _return_recorded(channel: Any, tag: str, stored: bytes, client: Any) -> None:
    try:
        _read_stored(stored)
    except (ValueError, TypeError, RecursionError) as error:
        raw, queue = split_record(stored)
        _move_aside(channel, queue, tag, raw, client, error)
    else:
        return_to_queue(tag)(channel)


def _running_tags() -> set[str]:
    """Return the tags of the messages that this worker is working on, over whatever connection they came."""
    while True:
        # A thread of the pool may add a request meanwhile.
        with suppress(RuntimeError):
            requests = list(state.active_requests)
            return {request.message.delivery_tag for request in requests if not request.acknowledged}


def _is_due(channel: Any, app: Celery, tag: bytes | str, stored: bytes, client: Any) -> bool:
    """Whether this worker may restore a message: it is for one of its queues, and old enough.

    Messages that workers of mailctl have taken have heartbeats. Other messages are with other workers, which
    would execute the tasks, too, even if mailctl restored the messages meanwhile.

    Raises: as `_read_stored`.
    """
    message, exchange, routing_key = _read_stored(stored)
    if not _is_consumed(channel, app, exchange, routing_key):
        return False
    index = channel.unacked_index_key
    has_heartbeat = _score(channel, f"{index}{KEY_SUFFIX}", tag, client) is not None
    if has_heartbeat and stored_task_name(message) in app.tasks:
        return True
    taken_at = _score(channel, index, tag, client) or 0.0
    return bool(time.time() - taken_at >= max(_FOREIGN_VISIBILITY_SECONDS, channel.visibility_timeout))


def _score(channel: Any, key: str, tag: bytes | str, client: Any) -> float | None:
    # kombu does not add its key prefix to this command.
    score: float | None = client.zscore(f"{channel.global_keyprefix}{key}", tag)
    return score


def _read_stored(stored: bytes) -> tuple[dict[str, Any], str | None, str]:
    """Return an unacknowledged message, its exchange and its routing key.

    Raises:
        ValueError: it is not a message that kombu can restore.
        TypeError: the same.
        RecursionError: it nests too deep.
    """
    message, exchange, routing_key = loads(stored.decode())  # type: ignore[no-untyped-call]
    if not isinstance(message, dict) or not is_restorable(message):
        raise ValueError("not a message")
    if not isinstance(exchange, str | None) or not isinstance(routing_key, str) or not routing_key:
        raise ValueError("without a queue")
    return message, exchange, routing_key


def _is_consumed(channel: Any, app: Celery, exchange: str | None, routing_key: str) -> bool:
    """Whether this worker consumes a queue that a message belongs to."""
    return bool(_queues_of(channel, exchange, routing_key) & set(app.amqp.queues.consume_from))


def _queues_of(channel: Any, exchange: str | None, routing_key: str) -> set[str]:
    try:
        return set(channel._lookup(exchange, routing_key))
    except ResponseError:  # the key of the exchange is not a set
        return set()


def _move_aside(
    channel: Any, queue: str, tag: bytes | str, stored: bytes, client: Any, error: Exception
) -> None:
    """Move a message that no worker can read to the unclaimed messages of a queue, in one transaction."""
    target = unclaimed_queue(queue)
    pipe = client.pipeline().lpush(target, stored)
    channel.qos._remove_from_indices(tag, pipe)
    pipe.execute()
    _log.error("moved an unreadable unacknowledged message to %r (%s)", target, type(error).__name__)
