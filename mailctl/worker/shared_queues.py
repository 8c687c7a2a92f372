"""Warns at the start of a worker about other apps that use its queues."""

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


def warn_of_other_messages(app: Celery, queues: Sequence[str]) -> None:
    """Log a warning for each queue that holds messages of other apps."""
    with suppress(BrokerUnavailable):  # Celery logs it, and connects again
        _warn(find_foreign_messages(app, queues))


def warn_of_other_workers(app: Celery) -> None:
    """Log a warning for each queue that workers of other apps consume, as soon as they answer."""
    queues = list(app.amqp.queues.consume_from)
    threading.Thread(target=_ask_workers, args=(app, queues), name="mailctl-sharing", daemon=True).start()


def _ask_workers(app: Celery, queues: Sequence[str]) -> None:
    try:
        _warn(find_foreign_workers(app, queues, BrokerInspector(app).queues_by_worker()))
    except BrokerUnavailable as error:
        _log.debug("cannot ask which other workers consume these queues: %s", error)


def _warn(shared_queues: Sequence[SharedQueue]) -> None:
    for shared in shared_queues:
        _log.warning("%s", shared)
