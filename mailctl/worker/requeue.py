"""Messages that return to the broker because the delivery log does not answer."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from celery.exceptions import Reject

from mailctl.errors import LogUnavailable
from mailctl.security.address_masking import masking_logger

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator

_log = masking_logger("mailctl.tasks")
#: Seconds to wait before the message returns.
_DELAY_SECONDS = 1.0


class _Requeued(Reject):  # type: ignore[misc]  # Celery has no types
    """The message returned to the broker; that is logged already, and Celery would add a traceback."""


@contextmanager
def requeue_if_log_unavailable(what: str) -> Iterator[None]:
    """Return the message to the broker, after a delay, if the delivery log does not answer in the block.

    Args:
        what: the email or the group of the message, for the log of the worker.

    Raises:
        Reject: the delivery log does not answer.
    """
    try:
        yield
    except LogUnavailable as error:
        _log.error("%s: returned to the broker: %s", what, error)
        time.sleep(_DELAY_SECONDS)
        raise _Requeued(str(error), requeue=True) from None


def is_not_of_requeued(record: logging.LogRecord) -> bool:
    """Whether a record says more than that a message returned, which is logged already; a logging filter."""
    return not (record.exc_info and isinstance(record.exc_info[1], _Requeued))
