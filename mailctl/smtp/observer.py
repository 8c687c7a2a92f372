"""Observes the replies of mail servers to the service's own code, in smtplib and aiosmtplib.

Methods of the two libraries are wrapped once per process. An observer sees only the calls of its own context:
those of its thread, and of coroutines that were started there.
"""

from __future__ import annotations

import re
import smtplib
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.message import Message
from email.utils import getaddresses
from functools import wraps
from typing import TYPE_CHECKING, Any

import aiosmtplib
import blinker

from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.security.address_masking import masking_logger
from mailctl.smtp.classify import classify_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_log = masking_logger("mailctl.recorder")
#: The length of the part of a message that is searched for its Message-ID, in bytes or characters.
_MAX_HEADER = 65_536
_MESSAGE_ID = re.compile(r"^message-id:\s*(<[^\s<>]{1,250}>)", re.IGNORECASE | re.MULTILINE)
#: Replies that accept a recipient (RFC 5321 section 4.2.2).
_RECIPIENT_ACCEPTED = frozenset({250, 251, 252})
#: The name of the signal that mail libraries send for every email, sent or suppressed.
_DISPATCHED = "email-dispatched"
#: The outcome between the transfer of the message and the reply: nobody knows whether the server accepts it.
_NO_REPLY = Outcome(kind=OutcomeKind.AMBIGUOUS, reply=SmtpReply(text="no reply to the message"), stage="body")


@dataclass(frozen=True, kw_only=True)
class ObservedResult:
    """The last reply of a mail server about one recipient."""

    outcome: Outcome
    message_id: str | None = None


@dataclass(kw_only=True)
class _Transaction:
    """The mail transaction of one SMTP session (RFC 5321 section 3.3)."""

    #: Recipients that the server accepted, in lower case.
    recipients: list[str] = field(default_factory=list)
    message_id: str | None = None


class SmtpObserver:
    """Collects the replies of mail servers in one context."""

    def __init__(self) -> None:
        self._transactions: dict[int, _Transaction] = {}
        self._lock = threading.Lock()
        #: The last reply about each recipient, by its address in lower case.
        self.results: dict[str, ObservedResult] = {}
        self._dispatched: dict[str, None] = {}

    @property
    def suppressed(self) -> frozenset[str]:
        """The recipients of emails that FastAPI-Mail or Flask-Mail reported as sent, but no server saw."""
        return frozenset(self._dispatched) - self.results.keys()

    def begin(self, session: object) -> None:
        """Note that a session begins a transaction."""
        with self._lock:
            self._transactions[id(session)] = _Transaction()

    def note_recipient(self, session: object, address: str, code: int, text: object) -> None:
        """Note the reply to RCPT."""
        with self._lock:
            address = _bare_address(address)
            if code in _RECIPIENT_ACCEPTED:
                self._of(session).recipients.append(address)
            else:
                self._note([address], classify_reply(code, _as_text(text), stage="rcpt"), None)

    def note_body(self, session: object, message: object) -> None:
        """Note that a message is being transferred; until the reply, nobody knows whether it is accepted."""
        with self._lock:
            transaction = self._of(session)
            transaction.message_id = _message_id(message)
            self._note(transaction.recipients, _NO_REPLY, transaction.message_id)

    def note_reply(self, session: object, code: int, text: object, *, stage: str) -> None:
        """Note the reply to DATA, or to the message."""
        with self._lock:
            transaction = self._transactions.pop(id(session), _Transaction())
            outcome = classify_reply(code, _as_text(text), stage=stage)
            self._note(transaction.recipients, outcome, transaction.message_id)

    def note_dispatched(self, addresses: Iterable[str]) -> None:
        """Note that a library has reported an email as sent, although it may have suppressed it."""
        with self._lock:
            self._dispatched |= dict.fromkeys(_bare_address(each) for each in addresses)

    def _note(self, addresses: Iterable[str], outcome: Outcome, message_id: str | None) -> None:
        for address in addresses:
            known = self.results.get(address)
            # An email that was accepted once is sent, whatever the reply to another copy.
            if known is None or known.outcome.kind is not OutcomeKind.ACCEPTED:
                self.results[address] = ObservedResult(outcome=outcome, message_id=message_id)

    def _of(self, session: object) -> _Transaction:
        return self._transactions.setdefault(id(session), _Transaction())


_current: ContextVar[SmtpObserver | None] = ContextVar("mailctl_smtp_observer", default=None)
_installing = threading.Lock()
_installed: list[bool] = []


@contextmanager
def observing() -> Iterator[SmtpObserver]:
    """Yield an observer of the SMTP sessions of this context, until the block ends."""
    _install()
    observer = SmtpObserver()
    token = _current.set(observer)
    try:
        yield observer
    finally:
        _current.reset(token)


def _install() -> None:
    with _installing:
        if _installed:
            return
        _installed.append(True)
        for wrap in (_wrap_smtplib, _wrap_aiosmtplib, _wrap_blinker):
            try:
                wrap()
            except Exception as error:  # another version of the library: its email is sent, unobserved
                problem = type(error).__name__
                _log.error("SMTP replies to the service's own tasks are not observed: %s", problem)


def _wrap_blinker() -> None:
    """Observe the signal `email_dispatched` of FastAPI-Mail and Flask-Mail, without importing either."""
    send = blinker.Signal.send

    @wraps(send)
    def observed_send(self: blinker.Signal, *args: Any, **kwargs: Any) -> Any:
        observer = _current.get()
        if observer is not None and args and getattr(self, "name", "") == _DISPATCHED:
            observer.note_dispatched(_recipients_of(args[0]))
        return send(self, *args, **kwargs)

    _replace(blinker.Signal, send=observed_send)


def _wrap_smtplib() -> None:
    mail, rcpt, data = smtplib.SMTP.mail, smtplib.SMTP.rcpt, smtplib.SMTP.data

    @wraps(mail)
    def observed_mail(self: smtplib.SMTP, *args: Any, **kwargs: Any) -> Any:
        if (observer := _current.get()) is not None:
            observer.begin(self)
        return mail(self, *args, **kwargs)

    @wraps(rcpt)
    def observed_rcpt(self: smtplib.SMTP, recip: str, *args: Any, **kwargs: Any) -> Any:
        code, text = rcpt(self, recip, *args, **kwargs)
        if (observer := _current.get()) is not None:
            observer.note_recipient(self, recip, code, text)
        return code, text

    @wraps(data)
    def observed_data(self: smtplib.SMTP, msg: Any) -> Any:
        if (observer := _current.get()) is None:
            return data(self, msg)
        observer.note_body(self, msg)
        try:
            code, text = data(self, msg)
        except smtplib.SMTPDataError as error:
            observer.note_reply(self, error.smtp_code, error.smtp_error, stage="data")
            raise
        observer.note_reply(self, code, text, stage="body")
        return code, text

    _replace(smtplib.SMTP, mail=observed_mail, rcpt=observed_rcpt, data=observed_data)


def _wrap_aiosmtplib() -> None:
    mail, rcpt, data = aiosmtplib.SMTP.mail, aiosmtplib.SMTP.rcpt, aiosmtplib.SMTP.data

    @wraps(mail)
    async def observed_mail(self: aiosmtplib.SMTP, *args: Any, **kwargs: Any) -> Any:
        if (observer := _current.get()) is not None:
            observer.begin(self)
        return await mail(self, *args, **kwargs)

    @wraps(rcpt)
    async def observed_rcpt(self: aiosmtplib.SMTP, recipient: str, /, **kwargs: Any) -> Any:
        observer = _current.get()
        try:
            reply = await rcpt(self, recipient, **kwargs)
        except aiosmtplib.SMTPRecipientRefused as error:
            if observer is not None:
                observer.note_recipient(self, recipient, error.code, error.message)
            raise
        if observer is not None:
            observer.note_recipient(self, recipient, reply.code, reply.message)
        return reply

    @wraps(data)
    async def observed_data(self: aiosmtplib.SMTP, message: Any, /, **kwargs: Any) -> Any:
        if (observer := _current.get()) is None:
            return await data(self, message, **kwargs)
        observer.note_body(self, message)
        try:
            reply = await data(self, message, **kwargs)
        except aiosmtplib.SMTPResponseException as error:
            observer.note_reply(self, error.code, error.message, stage="body")
            raise
        observer.note_reply(self, reply.code, reply.message, stage="body")
        return reply

    _replace(aiosmtplib.SMTP, mail=observed_mail, rcpt=observed_rcpt, data=observed_data)


def _replace(owner: type, **methods: Callable[..., Any]) -> None:
    for name, method in methods.items():
        setattr(owner, name, method)


def _recipients_of(message: Any) -> list[str]:
    """Return the recipients of a message of FastAPI-Mail or of Flask-Mail."""
    if isinstance(given := getattr(message, "send_to", None), set | frozenset):
        return [str(each) for each in given]
    if not isinstance(message, Message):
        return []
    values = [str(value) for name in ("To", "Cc", "Bcc") for value in message.get_all(name, [])]
    return [address for _, address in getaddresses(values)]


def _message_id(message: object) -> str | None:
    head = message[:_MAX_HEADER] if isinstance(message, str | bytes | bytearray | memoryview) else b""
    text = head if isinstance(head, str) else bytes(head).decode("ascii", "replace")
    found = _MESSAGE_ID.search(re.split(r"\r?\n\r?\n", text, maxsplit=1)[0])
    return found[1] if found else None


def _bare_address(address: str) -> str:
    # Some versions of Python return nothing for what holds no address.
    for _, found in getaddresses([address]):
        if bare := found.strip("<>").lower():
            return bare
    return address.lower()


def _as_text(text: object) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
