"""Replies of Celery workers to remote control commands; workers of other apps may reply anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailctl.broker.adapters import adapter_for
from mailctl.broker.connection import driver_errors
from mailctl.errors import BrokerRefused

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from celery import Celery

#: The maximum length of a name, in characters.
_MAX_NAME_LENGTH = 255
#: The maximum of a number of processes, of seconds, or of a process id.
_MAX_NUMBER = 10**12


def ask_workers(
    app: Celery,
    command: str,
    connection: Any,
    *,
    timeout: float,
    names: Collection[str] = (),
    arguments: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the replies of Celery workers to a command, by node name.

    Args:
        app: the app whose workers are asked.
        command: a command of Celery.
        connection: an open kombu connection.
        timeout: seconds to wait; the wait ends when all workers have answered that were called by name, or
            that have received the command, where the broker says how many these are.
        names: the node names of the workers; empty for all workers.
        arguments: the arguments of the command; None for none.

    Raises:
        BrokerRefused: a reply cannot be read.
    """
    try:
        awaited = _awaited_replies(app, connection, names)
        if awaited == 0:
            return {}
        replies = app.control.broadcast(
            command,
            arguments=dict(arguments or {}),
            destination=list(names) or None,
            connection=connection,
            reply=True,
            timeout=timeout,
            limit=awaited,
        )
    except driver_errors(connection):
        raise
    except Exception as error:  # a header of a wrong type, or a body that cannot be decoded
        raise BrokerRefused(
            f"A worker on this broker sends a reply that cannot be read ({type(error).__name__}).",
            fix="Find the program that sends it, for example with `celery inspect ping`, and stop it.",
        ) from None
    found = (reply for reply in replies or () if isinstance(reply, dict))
    return {name: value for reply in found for name, value in reply.items() if isinstance(name, str)}


def _awaited_replies(app: Celery, connection: Any, names: Collection[str]) -> int | None:
    """Return how many workers may reply at most; None if that is not known."""
    listeners = adapter_for(connection).listener_count(app.control.mailbox.exchange.name)
    if not names:
        return listeners
    return len(names) if listeners is None else min(len(names), listeners)


def queue_names(reply: object) -> tuple[str, ...]:
    """Return the names of the queues in a reply to `active_queues`."""
    queues = (queue.get("name") for queue in _list(reply) if isinstance(queue, dict))
    return tuple(_names(queues))


def task_names(reply: object) -> frozenset[str]:
    """Return the names of the tasks in a reply to `registered`."""
    # Celery adds the attributes of a task in brackets.
    return frozenset(name.partition(" [")[0] for name in _names(_list(reply)))


def task_attribute(reply: object, task: str, attribute: str) -> str:
    """Return a task attribute from a reply to `registered` that requested it; "" if the task has none."""
    start = f"{task} [{attribute}="
    found = (name for name in _names(_list(reply)) if name.startswith(start))
    return next(found, "").removeprefix(start).removesuffix("]")


def task_ids(reply: object) -> frozenset[str]:
    """Return the ids of the tasks in a reply to `query_task`: those that the worker has."""
    return frozenset(_names(mapping(reply)))


def mapping(value: object) -> dict[Any, Any]:
    """Return a value that is an object; an empty object for any other value."""
    return value if isinstance(value, dict) else {}


def number(value: object) -> int | None:
    """Return a value that is a whole number and not too large; None for any other value."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_NUMBER:
        return value
    return None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _names(values: Any) -> Iterator[str]:
    return (value[:_MAX_NAME_LENGTH] for value in values if isinstance(value, str))
