"""Recording and publishing emails in a process of the web service, without waiting for the broker."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import event
from sqlalchemy.orm import scoped_session

from mailctl import runtime
from mailctl.delivery_log.idempotency import IdempotencyKeys
from mailctl.delivery_log.storage.engine import translate_database_errors
from mailctl.delivery_log.storage.engine_clock import compare_clock_on
from mailctl.delivery_log.storage.time_limit import time_limit
from mailctl.delivery_log.storage.urls import is_same_database
from mailctl.domain.email_ids import new_email_id
from mailctl.enqueue.async_recorder import AsyncRecorder
from mailctl.enqueue.django_transaction import DjangoTransaction, open_transaction
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import BrokerUnavailable, ConfigurationError, MailctlError
from mailctl.process.deadlines import DEADLINE_SECONDS
from mailctl.process.per_process import PerProcess
from mailctl.security.address_masking import masking_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session, SessionTransaction

    from mailctl.domain.models import Content, Draft, User
    from mailctl.domain.request import EmailRequest
    from mailctl.enqueue.enqueuer import EnqueueResult
    from mailctl.runtime import Runtime

_T = TypeVar("_T")
_log = masking_logger("mailctl.service")

#: Seconds that a delivery log in PostgreSQL may take to record that emails are published.
_PUBLISH_SECONDS = 10.0
#: Seconds until emails that were recorded without waiting for the disk are on it.
FLUSH_SECONDS = 3.0
#: Seconds between publishing emails and recording that, so that workers get the delivery log first.
_WORKER_HEAD_START_SECONDS = 0.01
#: Seconds between two publications while many emails wait, and are left to the relays, a few dozen at once.
_BACKLOG_PAUSE_SECONDS = 0.05
#: The key in `Session.info` of the ids that the transaction of a session recorded.
_RECORDED_IDS_KEY = "mailctl.recorded"


class Dispatcher:
    """Records and publishes emails for one process of the web service; closed with its runtime.

    Args:
        parts: the runtime of this process.

    Raises (both methods):
        InvalidInput: a value of the request or its idempotency key is not usable.
        IdempotencyConflict: the key was used for other content.
        LogUnavailable: the delivery log cannot be written.
    """

    def __init__(self, parts: Runtime) -> None:
        parts.check_message_settings()
        self.runtime = parts
        self._enqueuer = Enqueuer(parts, head_start_seconds=_WORKER_HEAD_START_SECONDS)
        # The first use of each imports Celery or cryptography, which must not happen on an event loop later.
        _ = self._enqueuer.can_reach_worker
        _ = parts.keyring.seal(b"", purpose="import")
        # Nor must the first question for the time of a database.
        _ = parts.clock()
        # One thread, because only one may use a publisher; the interpreter joins it at exit.
        self._background = ThreadPoolExecutor(1, thread_name_prefix="mailctl-publisher")
        self._recorder = AsyncRecorder(
            parts, self._enqueuer, on_recorded=self._note_recorded, on_unclaimed=self._publish_soon
        )
        #: Emails to publish, and ids of emails to publish if the delivery log allows it.
        self._publishable: deque[Draft] = deque()
        self._ids_to_check: deque[str] = deque()
        #: Whether the thread has been asked to publish, and has not begun.
        self._is_publication_due = False
        #: Whether the last publication left emails to the relays.
        self._has_backlog = False
        self._flush_timer: threading.Timer | None = None
        parts.on_close(self._close)

    async def record(self, request: EmailRequest, users: Sequence[User]) -> str:
        """Record an email to each user in a new transaction, and publish them in the background.

        Cancelling the caller does not undo the recording.

        Returns:
            The id of the first email, or the id that an earlier request with the idempotency key returned.
        """
        contents = self._contents(request, users)
        with time_limit(DEADLINE_SECONDS):
            recorded = self._recorder.record(request, contents)
        try:
            return await recorded
        finally:
            # Not earlier: the publishing thread would compete with the caller for the interpreter.
            self._publish_soon()

    def record_now(self, request: EmailRequest, users: Sequence[User]) -> str:
        """Record like `record`, in the calling thread, which waits for the delivery log.

        In a transaction of Django, the emails join it (`DjangoTransaction`).
        """
        contents = self._contents(request, users)
        transaction = open_transaction(self.runtime.engine)
        if transaction is None:
            return self._record_and_publish(request, contents)
        if transaction.has_log:
            return self._record_in_django(transaction, request, contents)
        return self._record_after_django(transaction, request, contents)

    def _record_and_publish(
        self, request: EmailRequest, contents: list[Content], *, first_id: str | None = None
    ) -> str:
        try:
            with time_limit(DEADLINE_SECONDS):
                return self._record(request, contents, first_id=first_id)
        finally:
            self._publish_soon()

    def _record_in_django(
        self, transaction: DjangoTransaction, request: EmailRequest, contents: list[Content]
    ) -> str:
        with transaction.join() as connection:
            ids = self._enqueuer.record(request, contents, connection=connection).ids
        transaction.on_commit(lambda: self._publish_ids(ids))
        return ids[0]

    def _record_after_django(
        self, transaction: DjangoTransaction, request: EmailRequest, contents: list[Content]
    ) -> str:
        if self._is_repeated(request):
            return self._record_and_publish(request, contents)
        # By the clock of this host: the log is not asked before it is written.
        first_id = new_email_id(datetime.now(UTC))
        transaction.on_commit(lambda: self._record_and_publish(request, contents, first_id=first_id))
        return first_id

    def _is_repeated(self, request: EmailRequest) -> bool:
        """Whether the idempotency key is in use: then nothing is recorded, and the earlier id is returned."""
        if request.idempotency_key is None:
            return False
        keys = IdempotencyKeys(self.runtime.engine)
        return keys.find(request.idempotency_key, now=self.runtime.clock()) is not None

    def _contents(self, request: EmailRequest, users: Sequence[User]) -> list[Content]:
        return [self._enqueuer.make_content(request, user) for user in users]

    def _record(self, request: EmailRequest, contents: list[Content], *, first_id: str | None = None) -> str:
        durable = self.runtime.settings.is_durable
        enqueued = self._enqueuer.record(request, contents, durable=durable, first_id=first_id)
        self._note_recorded(enqueued)
        return enqueued.ids[0]

    def _note_recorded(self, enqueued: EnqueueResult) -> None:
        if not self.runtime.settings.is_durable:
            self._flush_soon()
        self._publishable.extend(enqueued.publishable)
        self._ids_to_check.extend(enqueued.ids_to_check)

    def record_in(
        self, session: Session | scoped_session[Session], request: EmailRequest, users: Sequence[User]
    ) -> str:
        """Record an email to each user in the transaction of the caller, and publish them after it.

        Returns:
            As `record`.

        Raises:
            ConfigurationError: the session is connected to a different database than the delivery log.
        """
        if isinstance(session, scoped_session):
            session = session()  # a listener on the registry would listen to all sessions
        connection = session.connection()
        if not is_same_database(connection.engine.url, self.runtime.engine.url):
            raise ConfigurationError(
                "The session is connected to a different database than the delivery log.",
                fix="Set MAILCTL_DATABASE_URL to the database of the session, or omit session=.",
            )
        with translate_database_errors(connection.engine.url):
            compare_clock_on(connection, self.runtime.engine)
            contents = self._contents(request, users)
            ids = self._enqueuer.record(request, contents, connection=connection).ids
        self._publish_after(session, ids)
        return ids[0]

    def _publish_after(self, session: Session, ids: Sequence[str]) -> None:
        """Publish emails when the transaction of a session has ended.

        A commit and a rollback, also of a savepoint, are treated alike: after a rollback the delivery log has
        no row to publish. The listener stays for the life of the session, because a listener that removes
        itself breaks the commit that calls it.
        """
        if _RECORDED_IDS_KEY not in session.info:
            session.info[_RECORDED_IDS_KEY] = []
            event.listen(session, "after_transaction_end", self._transaction_ended)
        session.info[_RECORDED_IDS_KEY].extend(ids)

    def _transaction_ended(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None and session.info[_RECORDED_IDS_KEY]:
            ids, session.info[_RECORDED_IDS_KEY] = session.info[_RECORDED_IDS_KEY], []
            self._publish_ids(ids)

    def _publish_ids(self, ids: Sequence[str]) -> None:
        """Publish the emails of a transaction that has ended."""
        self._ids_to_check.extend(ids)
        self._publish_soon()

    def _flush_soon(self) -> None:
        if self._flush_timer is None:
            timer = threading.Timer(FLUSH_SECONDS, self._flush)
            timer.daemon = True
            timer.start()
            self._flush_timer = timer

    def _flush(self) -> None:
        self._flush_timer = None
        try:
            self.runtime.outbox.flush()
        except MailctlError as error:
            _log.error("the delivery log could not be flushed to disk: %s", error.with_fix)

    def _close(self) -> None:
        self._recorder.close()
        self._publish_soon()
        self._background.shutdown()
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush()

    def _publish_soon(self) -> None:
        if self._is_publication_due:
            return
        self._is_publication_due = True
        with suppress(RuntimeError):  # the process is exiting: a relay publishes the emails
            self._background.submit(self._publish)

    def _publish(self) -> None:
        """Publish all emails that were recorded since the last call."""
        self._is_publication_due = False
        if not self._publishable and not self._ids_to_check:
            return
        if self._has_backlog:
            time.sleep(_BACKLOG_PAUSE_SECONDS)
        publishable, ids = _drain(self._publishable), _drain(self._ids_to_check)
        first = publishable[0].id if publishable else ids[0]
        try:
            with time_limit(_PUBLISH_SECONDS):
                self._has_backlog = self._enqueuer.publish(ids, publishable=publishable)
        except BrokerUnavailable as error:
            _log.warning("email %s waits in the delivery log for the broker: %s", first, error)
        except MailctlError as error:
            _log.error("email %s is not published yet: %s", first, error)
        except Exception:
            # Nothing else would report it: nobody reads the futures of this thread.
            _log.exception("email %s is not published yet; the relay of a worker will publish it", first)


def _drain(waiting: deque[_T]) -> list[_T]:
    return [waiting.popleft() for _ in range(len(waiting))]


_dispatchers = PerProcess[Dispatcher]()


def current() -> Dispatcher:
    """Return the dispatcher of this process; the first call opens the delivery log.

    Raises:
        ConfigurationError: the settings are not usable.
        LogUnavailable: the delivery log cannot be opened.
    """
    parts = runtime.current()
    return _dispatchers.get(
        lambda: Dispatcher(parts), is_usable=lambda dispatcher: dispatcher.runtime is parts
    )


def is_open() -> bool:
    """Return whether the dispatcher of this process is open, so that `current` returns at once."""
    return _dispatchers.peek() is not None and runtime.is_open()
