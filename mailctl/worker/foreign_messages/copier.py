"""Copies messages of other apps between queues on AMQP, over a connection of its own."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from amqp.exceptions import MessageNacked

from mailctl.broker.amqp import copy_of, declare_unclaimed
from mailctl.broker.confirms import CONFIRM_SECONDS, Confirms
from mailctl.broker.connection import limit_waits
from mailctl.broker.counting import count_messages
from mailctl.celery_app import BROKER_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celery import Celery

    from mailctl.worker.foreign_messages.message import ForeignMessage

_log = logging.getLogger("mailctl.worker")


class MessageCopier:
    """Publishes copies of messages; used by one thread.

    Args:
        app: the app of the worker.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Any = None
        self._confirms: Confirms
        self._declared: set[str] = set()

    def copy_all(self, messages: Sequence[ForeignMessage], queue: str) -> list[Exception | None]:
        """Publish copies to a queue, and wait until the broker has confirmed them.

        Returns:
            For each message None if its copy is confirmed, else an error; a copy may exist nevertheless.

        Raises:
            Exception: an error of the driver, before the first message was copied.
        """
        with self._closed_on_error():
            connection = self._open()
            if messages[0].unclaimed_queue_name == queue and queue not in self._declared:
                declare_unclaimed(connection, messages[0].queue)
                self._declared.add(queue)
        errors = self._publish([_copy_or_error(each) for each in messages], queue)
        if any(error is not None and not isinstance(error, MessageNacked) for error in errors):
            self.close()
        return errors

    def depth(self, queue: str) -> int:
        """Return how many messages of a queue no worker has taken.

        Raises:
            Exception: an error of the driver.
        """
        with self._closed_on_error():
            return count_messages(self._open(), queue)

    def close(self) -> None:
        """Close the connection, whatever its state."""
        connection, self._connection = self._connection, None
        self._declared.clear()
        if connection is not None:
            try:
                connection.release()
            except Exception as error:
                _log.debug("a connection to the broker was lost: %s", type(error).__name__)

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """Close the connection if the block fails: a channel that has failed is not used again."""
        with ExitStack() as stack:
            stack.callback(self.close)
            yield
            stack.pop_all()

    def _publish(self, copies: Sequence[Any], queue: str) -> list[Exception | None]:
        valid = [each for each in copies if not isinstance(each, Exception)]
        published = iter(self._confirms.publish(valid, queue))
        return [each if isinstance(each, Exception) else next(published) for each in copies]

    def _open(self) -> Any:
        if self._connection is None:
            # Without heartbeats: nobody would answer them while there is nothing to copy.
            self._connection = self._app.connection_for_write(
                heartbeat=0, connect_timeout=BROKER_TIMEOUT_SECONDS
            )
            limit_waits(self._connection, seconds=CONFIRM_SECONDS)
            self._confirms = Confirms(self._connection.default_channel)
        return self._connection


def _copy_or_error(foreign: ForeignMessage) -> Any:
    """Return a copy to publish, or the error that keeps the driver from serializing it."""
    try:
        copy = copy_of(foreign.raw)
        copy._serialize_properties()
    except Exception as error:
        return error
    return copy
