"""What the web service calls: record the email, then let it be published; never wait for the broker."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from mailctl import runtime
from mailctl.catalog import GENERIC, NEW_IP, RESET, VERIFICATION, WELCOME, Kind
from mailctl.enqueue import Enqueuer
from mailctl.errors import BrokerUnavailable, ConfigurationError, InvalidInput, MailctlError
from mailctl.intake import make_content, make_recipient, make_user
from mailctl.log.database import is_same_database, translated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session, SessionTransaction

    from mailctl.message import Content, Json, User
    from mailctl.runtime import Runtime

_log = logging.getLogger("mailctl.service")

_ContentMaker = Callable[["Runtime"], list["Content"]]
#: Seconds after which what was recorded is on disk: a power failure, and nothing else, can lose that much.
FLUSH_SECONDS = 3.0
#: Seconds that a caller goes on before its email is published.
_LEAD_SECONDS = 0.001
#: Where a session keeps the ids of what its transaction recorded.
_RECORDED = "mailctl.recorded"


class ServiceUser(Protocol):
    """A user of the service, as its own code knows one; `first_name` is used where there is one."""

    id: Any
    email: str
    username: str


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """Somebody whom the generic email goes to."""

    email: str
    name: str = ""


class EmailService:
    """Sends the service's emails in the background.

    Each method records the email in the delivery log and returns its id, the Celery task id. A worker
    sends it; a broker that is down neither fails nor delays the call. With `session`, the record joins the
    caller's transaction: it is published after the commit, and gone after a rollback. With
    `idempotency_key`, a second call with the same key and content returns the first id and sends nothing.

    Raises (all methods):
        InvalidInput: a value cannot be used; nothing was recorded.
        IdempotencyConflict: the key was used for other content.
        ConfigurationError: the settings are not usable, or `session` is of another database than the log.
        LogUnavailable: the delivery log cannot be written.
    """

    @staticmethod
    async def prepare() -> None:
        """Open the delivery log and load the kinds: at the start of the service, so no request waits."""
        desk = await asyncio.to_thread(_desk)
        await asyncio.to_thread(lambda: desk.runtime.catalog.own)

    @staticmethod
    async def close() -> None:
        """Finish what is being published and close all connections: at the end of the service."""
        await asyncio.to_thread(runtime.shut)

    @staticmethod
    async def send_email(
        subject: str,
        recipients: Sequence[Recipient | Mapping[str, str] | str],
        template_name: str,
        context: Mapping[str, Json] | None = None,
        *,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Send an email of the service's own: one message to each recipient.

        Args:
            subject: its subject line.
            recipients: addresses, or names with addresses.
            template_name: a template of mailctl's or of the folder MAILCTL_TEMPLATES.
            context: the template's variables, of JSON types.

        Returns:
            The id of the email to the first recipient; the others share it as their group.
        """
        if isinstance(recipients, str):
            raise InvalidInput("recipients", "is one text, not a list.", fix="Give a list of addresses.")
        people = [_recipient(recipient) for recipient in recipients]
        if not people:
            raise InvalidInput("recipients", "are missing.", fix="Give at least one.")

        def make(parts: Runtime) -> list[Content]:
            return [
                make_content(
                    GENERIC,
                    person,
                    origins=parts.origins,
                    context=context,
                    subject=subject,
                    template=template_name,
                )
                for person in people
            ]

        return await _record(GENERIC, make, session=session, idempotency_key=idempotency_key)

    @staticmethod
    async def send_welcome_email(
        user: ServiceUser,
        *,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Greet a new user; returns the id."""
        return await _record_for(user, WELCOME, {}, session=session, idempotency_key=idempotency_key)

    @staticmethod
    async def send_password_reset_email(
        user: ServiceUser,
        token: str,
        *,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Send a link to choose a new password, which carries `token`, sealed; returns the id."""
        tokens = {"token": token}
        return await _record_for(user, RESET, tokens, session=session, idempotency_key=idempotency_key)

    @staticmethod
    async def send_verification_email(
        user: ServiceUser,
        token: str,
        *,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Send a link to confirm the address, which carries `token`, sealed; returns the id."""
        tokens = {"token": token}
        return await _record_for(user, VERIFICATION, tokens, session=session, idempotency_key=idempotency_key)

    @staticmethod
    async def send_new_ip_notification(
        user: ServiceUser,
        ip_address: str,
        whitelist_token: str,
        blacklist_token: str,
        *,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Tell of a sign-in from `ip_address`, with links to allow and to block it; returns the id."""
        tokens = {"whitelist_token": whitelist_token, "blacklist_token": blacklist_token}
        return await _record_for(
            user,
            NEW_IP,
            tokens,
            context={"ip_address": ip_address},
            session=session,
            idempotency_key=idempotency_key,
        )

    @staticmethod
    async def send(
        kind: str,
        user: ServiceUser,
        context: Mapping[str, Json] | None = None,
        *,
        tokens: Mapping[str, str] | None = None,
        session: Session | AsyncSession | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Send an email of any kind, also of the service's own (MAILCTL_CATALOG); returns the id.

        Args:
            kind: its name.
            context: its variables, of JSON types.
            tokens: the service's own for its links, by the `token` of each; else they are made.
        """
        desk = await asyncio.to_thread(_desk)
        return await _record_for(
            user,
            desk.runtime.catalog.named(kind),
            tokens or {},
            context=context,
            session=session,
            idempotency_key=idempotency_key,
        )


async def _record_for(
    user: ServiceUser,
    kind: Kind,
    tokens: Mapping[str, str],
    *,
    context: Mapping[str, Json] | None = None,
    session: Session | AsyncSession | None,
    idempotency_key: str | None,
) -> str:
    person = make_user(
        email=user.email, id=user.id, username=user.username, first_name=getattr(user, "first_name", "")
    )

    def make(parts: Runtime) -> list[Content]:
        return [make_content(kind, person, origins=parts.origins, tokens=tokens, context=context)]

    return await _record(kind, make, session=session, idempotency_key=idempotency_key)


async def _record(
    kind: Kind,
    make: _ContentMaker,
    *,
    session: Session | AsyncSession | None,
    idempotency_key: str | None,
) -> str:
    # In another thread only while it is still to be opened: each change of threads costs time.
    desk = _desk() if _is_open() else await asyncio.to_thread(_desk)
    contents = make(desk.runtime)
    if session is None:
        loop = asyncio.get_running_loop()
        return await asyncio.to_thread(
            desk.record, kind, contents, idempotency_key=idempotency_key, caller=loop
        )
    if isinstance(session, AsyncSession):
        return await session.run_sync(
            lambda sync: desk.record_in(sync, kind, contents, idempotency_key=idempotency_key)
        )
    return desk.record_in(session, kind, contents, idempotency_key=idempotency_key)


class _Desk:
    """Records and publishes for one process of the web service; closed with its runtime."""

    def __init__(self, parts: Runtime) -> None:
        self.runtime = parts
        self._enqueuer = Enqueuer(parts)
        # Asked for here, where no event loop waits: the answer may import Celery.
        _ = self._enqueuer.reaches_a_worker
        # One thread, because a publisher is for one at a time; the interpreter waits for it at its end.
        self._background = ThreadPoolExecutor(1, thread_name_prefix="mailctl-publisher")
        self._unpublished: deque[str] = deque()
        self._flush_timer: threading.Timer | None = None
        parts.on_close(self._close)

    def record(
        self,
        kind: Kind,
        contents: list[Content],
        *,
        idempotency_key: str | None,
        caller: asyncio.AbstractEventLoop,
    ) -> str:
        # Committed here, so that no crash of a process loses it; a request does not wait for the disk.
        ids = self._enqueuer.record(kind, contents, idempotency_key=idempotency_key, is_lasting=False)
        self._flush_soon()
        self._unpublished.extend(ids)
        try:
            # Not at once: what publishes would compete for the interpreter with the caller, who goes on now.
            caller.call_soon_threadsafe(caller.call_later, _LEAD_SECONDS, self._publish_soon)
        except RuntimeError:  # the caller's loop has ended
            self._publish_soon()
        return ids[0]

    def record_in(
        self, session: Session, kind: Kind, contents: list[Content], *, idempotency_key: str | None
    ) -> str:
        connection = session.connection()
        if not is_same_database(connection.engine.url, self.runtime.engine.url):
            raise ConfigurationError(
                "session= belongs to another database than the delivery log.",
                fix="Set MAILCTL_DATABASE_URL to the database of the session, or leave session= out.",
            )
        with translated(connection.engine.url):
            ids = self._enqueuer.record(
                kind, contents, idempotency_key=idempotency_key, connection=connection
            )
        self._publish_after(session, ids)
        return ids[0]

    def _publish_after(self, session: Session, ids: list[str]) -> None:
        """Publish when the session's transaction has ended.

        Whether it was committed is not asked: after a rollback, also of a savepoint, there is no row to
        publish. The listener stays for the life of the session, because one that removes itself breaks the
        commit that calls it.
        """
        if _RECORDED not in session.info:
            session.info[_RECORDED] = []
            event.listen(session, "after_transaction_end", self._transaction_ended)
        session.info[_RECORDED].extend(ids)

    def _transaction_ended(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None and session.info[_RECORDED]:
            ids, session.info[_RECORDED] = session.info[_RECORDED], []
            self.publish_later(ids)

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

    def publish_later(self, ids: list[str]) -> None:
        self._unpublished.extend(ids)
        self._publish_soon()

    def _publish_soon(self) -> None:
        with suppress(RuntimeError):  # the process is ending: a relay publishes them
            self._background.submit(self._publish)

    def _publish(self) -> None:
        """Publish what has come together meanwhile."""
        ids = [self._unpublished.popleft() for _ in range(len(self._unpublished))]
        if not ids:
            return
        try:
            self._enqueuer.publish(ids)
        except BrokerUnavailable as error:
            _log.warning("email %s waits in the delivery log: %s", ids[0], error)
        except MailctlError as error:
            _log.error("email %s is not published yet: %s", ids[0], error)
        except Exception:
            # Nobody reads what this thread returns.
            _log.exception("email %s is not published yet; a relay of a worker will do it", ids[0])


#: By process: a parent's threads do not exist in its child.
_desks: dict[int, _Desk] = {}
_lock = threading.Lock()


def _desk() -> _Desk:
    parts = runtime.current()
    with _lock:
        desk = _desks.get(os.getpid())
        if desk is None or desk.runtime is not parts:
            desk = _desks[os.getpid()] = _Desk(parts)
        return desk


def _is_open() -> bool:
    desk = _desks.get(os.getpid())
    return desk is not None and runtime.is_open()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


# Another thread of the parent may have held it at that moment.
os.register_at_fork(after_in_child=_renew_lock)


def _recipient(value: Recipient | Mapping[str, str] | str) -> User:
    if isinstance(value, str):
        return make_recipient(email=value)
    if isinstance(value, Recipient):
        return make_recipient(email=value.email, name=value.name)
    if not isinstance(value, Mapping):
        raise InvalidInput("recipients", "are not addresses.", fix="Give texts, Recipients or objects.")
    return make_recipient(email=value.get("email"), name=value.get("name"))
