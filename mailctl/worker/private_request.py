"""A worker's requests for tasks of ours: they show no arguments, and Celery's revoke does not stop them."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task
from celery.worker.request import Request
from typing_extensions import override

_log = logging.getLogger("mailctl.worker")
_REDACTED = "(redacted)"


class PrivateRequest(Request):  # type: ignore[misc]
    """A request whose arguments are not in events, logs or answers to `inspect`, whoever published it.

    Remote control cannot revoke or terminate it.
    """

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
    def revoked(self) -> bool:
        """Whether the task has expired, which only a canary does.

        Celery's list of revoked ids does not count: Celery would discard the message, and the delivery log
        would have it published again, for ever. `mailctl cancel` and `hold` stop an email.
        """
        return bool(self.expires and super().revoked())

    @override
    def terminate(self, pool: Any, signal: Any = None) -> None:
        """Let the task run to its end: nobody could tell whether an email that is cut short has arrived."""
        _log.warning("task %s is not terminated: `mailctl cancel` stops what is not out yet", self.id)


class PrivateTask(Task):  # type: ignore[misc]
    """A task whose arguments are nobody's business."""

    abstract = True
    Request = f"{__name__}:PrivateRequest"
