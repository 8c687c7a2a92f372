"""Taking messages off the broker, or giving them back, when the connection that they came by may be gone."""

from __future__ import annotations

import logging
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("mailctl.worker")


def outlive_connection(message: Any) -> None:
    """Let the worker live that acknowledges or rejects this message while it connects anew.

    kombu then asks its closed connection, which is None, for an address. Celery does not expect that error,
    and its worker would end. The broker still has the message, and gives it out again.
    """
    message.ack_log_error = _forgiving(message.ack_log_error)
    message.reject_log_error = _forgiving(message.reject_log_error)


def _forgiving(settle: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(settle)
    def forgiving(*args: Any, **kwargs: Any) -> None:
        try:
            settle(*args, **kwargs)
        except AttributeError as error:
            if error.obj is not None:
                raise
            _log.warning("a message was not acknowledged, for its connection is gone (%s)", error)

    return forgiving
