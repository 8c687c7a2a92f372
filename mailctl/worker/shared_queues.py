"""Saying at the start of a worker that others use its queues."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from mailctl.broker.inspector import BrokerInspector
from mailctl.broker.shared_queues import find_foreign_messages, find_foreign_workers
from mailctl.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery import Celery

    from mailctl.broker.shared_queues import SharedQueue

_log = logging.getLogger("mailctl.worker")


def log_foreign_messages(app: Celery, queues: Sequence[str]) -> None:
    """Log what waits in the queues for others."""
    with suppress(BrokerUnavailable):  # Celery says so, and tries again
        _warn(find_foreign_messages(app, queues))


def log_foreign_workers(app: Celery) -> None:
    """Log who else consumes the queues of this worker, when they answer."""
    queues = list(app.amqp.queues.consume_from)
    threading.Thread(target=_ask_workers, args=(app, queues), name="mailctl-sharing", daemon=True).start()


def _ask_workers(app: Celery, queues: Sequence[str]) -> None:
    try:
        _warn(find_foreign_workers(app, queues, BrokerInspector(app).queues_by_worker()))
    except BrokerUnavailable as error:
        _log.debug("nobody could be asked who else consumes these queues: %s", error)


def _warn(found: Sequence[SharedQueue]) -> None:
    for sharing in found:
        _log.warning("%s", sharing)
