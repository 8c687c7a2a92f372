"""Celery requests for email tasks: they show no arguments, and Celery's revoke does not stop them."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task
from celery.worker.request import Request
from typing_extensions import override

_log = logging.getLogger("mailctl.worker")
_REDACTED = "(redacted)"


class PrivateRequest(Request):  # type: ignore[misc]
    """A request whose arguments do not appear in events, logs or replies to `inspect`, whoever published it.

    Remote control can neither revoke nor terminate it.
    """

    @property
    def argsrepr(self) -> str:
        """A placeholder for the positional arguments."""
        return _REDACTED

    @property
    def kwargsrepr(self) -> str:
        """A placeholder for the named arguments."""
        return _REDACTED

    @override
    def info(self, safe: bool = False) -> dict[str, Any]:
        """Return the reply to `inspect`."""
        reply: dict[str, Any] = super().info(safe=True)
        return {**reply, "args": _REDACTED, "kwargs": _REDACTED}

    @override
    def revoked(self) -> bool:
        """Whether the task has expired, which only a canary does.

        Celery's list of revoked ids is ignored: Celery would discard the message, and the relay would publish
        the email again, for ever. `mailctl cancel` and `mailctl hold` stop an email.
        """
        return bool(self.expires and super().revoked())

    @override
    def terminate(self, pool: Any, signal: Any = None) -> None:
        """Let the task finish: after a termination nobody could tell whether the email was sent."""
        _log.warning("ignored a request to terminate task %s; use `mailctl cancel` to stop an email", self.id)


class PrivateTask(Task):  # type: ignore[misc]
    """A task with private requests."""

    abstract = True
    Request = f"{__name__}:PrivateRequest"
