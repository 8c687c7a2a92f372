"""What a worker tells of a task it has in hand: never the arguments of an email."""

from __future__ import annotations

from typing import Any

from celery import Task
from celery.worker.request import Request
from typing_extensions import override

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


class PrivateTask(Task):  # type: ignore[misc]
    """A task whose arguments are nobody's business."""

    abstract = True
    Request = f"{__name__}:PrivateRequest"
