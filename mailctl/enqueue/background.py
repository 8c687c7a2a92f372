"""Recording and publishing for the web service: one dispatcher for each of its processes."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import event

from mailctl import runtime
from mailctl.delivery_log.storage.engine import translate_database_errors
from mailctl.delivery_log.storage.urls import is_same_database
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import BrokerUnavailable, ConfigurationError, MailctlError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session, SessionTransaction

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Content, Draft
    from mailctl.runtime import Runtime

_T = TypeVar("_T")
_log = logging.getLogger("mailctl.service")

#: Seconds after which what was recorded is on disk: a power failure, and nothing else, can lose that much.
FLUSH_SECONDS = 3.0
#: Seconds that a worker goes on with an email before the log is told that it is published.
_WORKER_HEAD_START_SECONDS = 0.01
#: Where a session keeps the ids of what its transaction recorded.
_RECORDED_IDS_KEY = "mailctl.recorded"


class Dispatcher:
    """Records and publishes for one process of the web service; closed with its runtime.

    Args:
        parts: of this process.

    Raises (both methods):
        InvalidInput: the idempotency key is not usable.
        IdempotencyConflict: the key was used for other content.
        LogUnavailable: the delivery log cannot be written.
    """

    def __init__(self, parts: Runtime) -> None:
        parts.check_message_settings()
        self.runtime = parts
        self._enqueuer = Enqueuer(parts, head_start_seconds=_WORKER_HEAD_START_SECONDS)
        # Asked for here, where no event loop waits: the answer may import Celery.
        _ = self._enqueuer.can_reach_worker
        # One thread, because a publisher is for one at a time; the interpreter waits for it at its end.
        self._background = ThreadPoolExecutor(1, thread_name_prefix="mailctl-publisher")
        #: What is to be published: emails that nothing keeps back, and ids of which the log is asked first.
        self._publishable: deque[Draft] = deque()
        self._ids_to_check: deque[str] = deque()
        self._flush_timer: threading.Timer | None = None
        parts.on_close(self._close)

    async def record(self, kind: Kind, contents: list[Content], *, idempotency_key: str | None) -> str:
        """Record the emails of one call in a transaction of its own, and publish them a moment later.

        A caller that is cancelled while they are being recorded changes nothing of that.

        Args:
            contents: one per recipient.

        Returns:
            The id of the first, or that of an earlier call with the key.
        """
        given_up = threading.Event()
        try:
            return await asyncio.to_thread(self._record, kind, contents, idempotency_key, given_up)
        except asyncio.CancelledError:
            given_up.set()
            raise
        finally:
            # Not before the caller goes on: who publishes competes with it for the interpreter.
            self._publish_soon()

    def _record(
        self, kind: Kind, contents: list[Content], idempotency_key: str | None, given_up: threading.Event
    ) -> str:
        # Committed here, so that no crash of a process loses it; a request does not wait for the disk.
        enqueued = self._enqueuer.record(kind, contents, idempotency_key=idempotency_key, durable=False)
        self._flush_soon()
        self._publishable.extend(enqueued.publishable)
        self._ids_to_check.extend(enqueued.ids_to_check)
        if given_up.is_set():
            self._publish_soon()
        return enqueued.ids[0]

    def record_in(
        self, session: Session, kind: Kind, contents: list[Content], *, idempotency_key: str | None
    ) -> str:
        """Record them in the caller's transaction, and publish them after it.

        Raises:
            ConfigurationError: the session is of another database than the delivery log.
        """
        connection = session.connection()
        if not is_same_database(connection.engine.url, self.runtime.engine.url):
            raise ConfigurationError(
                "session= belongs to another database than the delivery log.",
                fix="Set MAILCTL_DATABASE_URL to the database of the session, or leave session= out.",
            )
        with translate_database_errors(connection.engine.url):
            ids = self._enqueuer.record(
                kind, contents, idempotency_key=idempotency_key, connection=connection
            ).ids
        self._publish_after(session, ids)
        return ids[0]

    def _publish_after(self, session: Session, ids: Sequence[str]) -> None:
        """Publish when the session's transaction has ended.

        Whether it was committed is not asked: after a rollback, also of a savepoint, there is no row to
        publish. The listener stays for the life of the session, because one that removes itself breaks the
        commit that calls it.
        """
        if _RECORDED_IDS_KEY not in session.info:
            session.info[_RECORDED_IDS_KEY] = []
            event.listen(session, "after_transaction_end", self._transaction_ended)
        session.info[_RECORDED_IDS_KEY].extend(ids)

    def _transaction_ended(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None and session.info[_RECORDED_IDS_KEY]:
            ids, session.info[_RECORDED_IDS_KEY] = session.info[_RECORDED_IDS_KEY], []
            self._ids_to_check.extend(ids)
            self._publish_soon()

    def _flush_soon(self) -> None:
        if self._flush_timer is None:
            self._flush_timer = threading.Timer(FLUSH_SECONDS, self._flush)
            self._flush_timer.daemon = True
            self._flush_timer.start()

    def _flush(self) -> None:
        self._flush_timer = None
        try:
            self.runtime.outbox.flush()
        except MailctlError as error:
            _log.error("the delivery log is not on disk yet: %s", error)

    def _close(self) -> None:
        self._publish_soon()
        self._background.shutdown()
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush()

    def _publish_soon(self) -> None:
        with suppress(RuntimeError):  # the process is ending: a relay publishes them
            self._background.submit(self._publish)

    def _publish(self) -> None:
        """Publish what has come together meanwhile."""
        publishable, ids = _drain(self._publishable), _drain(self._ids_to_check)
        if not publishable and not ids:
            return
        first = publishable[0].id if publishable else ids[0]
        try:
            self._enqueuer.publish(ids, publishable=publishable)
        except BrokerUnavailable as error:
            _log.warning("email %s waits in the delivery log: %s", first, error)
        except MailctlError as error:
            _log.error("email %s is not published yet: %s", first, error)
        except Exception:
            # Nobody reads what this thread returns.
            _log.exception("email %s is not published yet; a relay of a worker will do it", first)


def _drain(waiting: deque[_T]) -> list[_T]:
    return [waiting.popleft() for _ in range(len(waiting))]


#: By process: a parent's threads do not exist in its child.
_dispatchers: dict[int, Dispatcher] = {}
_lock = threading.Lock()


def current() -> Dispatcher:
    """Return that of this process, which opens the delivery log.

    Raises:
        ConfigurationError: the settings are not usable.
        LogUnavailable: the delivery log cannot be opened.
    """
    parts = runtime.current()
    with _lock:
        dispatcher = _dispatchers.get(os.getpid())
        if dispatcher is None or dispatcher.runtime is not parts:
            dispatcher = _dispatchers[os.getpid()] = Dispatcher(parts)
        return dispatcher


def is_open() -> bool:
    """Whether `current` returns at once."""
    dispatcher = _dispatchers.get(os.getpid())
    return dispatcher is not None and runtime.is_open()


def _reset_lock() -> None:
    global _lock
    _lock = threading.Lock()


# Another thread of the parent may have held it at that moment.
os.register_at_fork(after_in_child=_reset_lock)
