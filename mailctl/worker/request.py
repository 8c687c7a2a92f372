"""What a worker tells of a task it has in hand: never the arguments of an email."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.worker.request import Request
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger("mailctl.worker")
_REDACTED = "(redacted)"


class PrivateRequest(Request):  # type: ignore[misc]
    """A request whose arguments are not in events, logs or answers to `inspect`, whoever published it."""

    @property
    def argsrepr(self) -> str:
        """What stands for the positional arguments."""
        return _REDACTED

    @property
    def kwargsrepr(self) -> str:
        """What stands for the named arguments."""
        return _REDACTED

    @override
    def info(self, safe: bool = False) -> dict[str, Any]:
        """Return what `inspect` is told."""
        told: dict[str, Any] = super().info(safe=True)
        return {**told, "args": _REDACTED, "kwargs": _REDACTED}

    @override
    def acknowledge(self) -> None:
        """Take the message off the broker; where the connection is gone, it is given out again."""
        with _connection_may_be_gone():
            super().acknowledge()

    @override
    def reject(self, requeue: bool = False) -> None:
        """Give the message back to the broker, or drop it; where the connection is gone, it has it."""
        with _connection_may_be_gone():
            super().reject(requeue=requeue)


@contextmanager
def _connection_may_be_gone() -> Iterator[None]:
    """Let a worker live whose task ends while it connects anew.

    kombu asks its closed connection, which is None then, for an address; Celery does not expect that error.
    """
    try:
        yield
    except AttributeError as error:
        if error.obj is not None:
            raise
        _log.warning("a message was not acknowledged, for its connection is gone (%s)", error)


class PrivateTask(Task):  # type: ignore[misc]
    """A task whose arguments are nobody's business."""

    abstract = True
    Request = f"{__name__}:PrivateRequest"
