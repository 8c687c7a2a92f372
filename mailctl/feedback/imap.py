"""Takes mail from folders of an IMAP mailbox (RFC 3501), and waits for more with IDLE (RFC 2177)."""

from __future__ import annotations

import base64
import contextlib
import imaplib
import math
import re
import select
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mailctl.domain.feedback_sources import MailboxAddress, parse_mailbox_url
from mailctl.errors import MailctlError
from mailctl.feedback.received_mail import MAX_OCTETS
from mailctl.security.address_masking import masking_logger

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from _typeshed import ReadableBuffer

    from mailctl.smtp.oauth import TokenSource

_log = masking_logger("mailctl.feedback")

#: Seconds for connecting and for each command.
_TIMEOUT_SECONDS = 60.0
#: Seconds of one IDLE: after that, the folder is read in any case.
_IDLE_SECONDS = 20.0
_POLL_SECONDS = 0.5
#: The maximum number of octets of a line (one line lists all unseen messages), of a literal and of a
#: response; the maximum time for a response in seconds; and the number of octets that are received at once.
_MAX_LINE, _MAX_LITERAL, _MAX_ANSWER = 16 * 1024 * 1024, MAX_OCTETS + 65_536, 64 * 1024 * 1024
_ANSWER_SECONDS, _RECEIVED_AT_ONCE = 900.0, 65_536
#: Seconds before a message is tried again that the server did not hand over, or mark as seen.
_SET_ASIDE_SECONDS = 300.0
#: How often a message may end the connection while a mailbox is read once.
_MAX_RECONNECTS = 10
#: Messages that are read before the process looks whether it should stop.
_BATCH = 50

#: What goes wrong with a connection; the source reconnects.
IMAP_ERRORS = (OSError, imaplib.IMAP4.error, EOFError)


@dataclass(frozen=True, kw_only=True)
class ImapMailbox(MailboxAddress):
    """A mailbox, and how to sign in.

    Args:
        password: the password; unused with `tokens`.
        tokens: returns access tokens for XOAUTH2; None signs in with the password.
        ca_file: a PEM file of certificate authorities to trust instead of the system's.
    """

    password: str = field(default="", repr=False)
    tokens: TokenSource | None = field(default=None, repr=False, compare=False)
    ca_file: Path | None = None


def parse_mailbox(
    url: str, *, password: str, tokens: TokenSource | None, ca_file: Path | None = None
) -> ImapMailbox:
    """Return the mailbox of a URL such as `imaps://user@host:993/INBOX,Junk`.

    Raises:
        ConfigurationError: it is no such URL, or there is neither a password nor a source of tokens.
    """
    where = parse_mailbox_url(url, has_credentials=bool(password) or tokens is not None)
    return ImapMailbox(**vars(where), password=password, tokens=tokens, ca_file=ca_file)


def describe_imap_error(error: imaplib.IMAP4.error) -> str:
    """Return what is wrong, without the words of the server, which may quote names."""
    if isinstance(error, imaplib.IMAP4.readonly):
        return "the folder is read-only, so no message can be marked as seen"
    if isinstance(error, imaplib.IMAP4.abort):
        return "the server has ended the connection, or does not speak IMAP"
    return "the server refused a command, such as signing in or opening the folder"


class _Connection(imaplib.IMAP4):
    """A connection that knows whether it has received data that was not read yet.

    `imaplib` reads ahead into a buffer of its own, which `select` does not see: what a server says together
    with an answer would be noticed with the next one.
    """

    _received = b""
    #: Which it was received from.
    _source: object = None
    #: Octets received since the last command, and the deadline of the response to it.
    _answered, _deadline = 0, math.inf

    @property
    def has_received(self) -> bool:
        """Whether the server has said something that was not read yet."""
        sock = self.socket()
        return bool(self._received) or (isinstance(sock, ssl.SSLSocket) and sock.pending() > 0)

    @override
    def read(self, size: int) -> bytes:
        if size > _MAX_LITERAL:
            raise self.abort("a literal is too long")
        parts, missing = [], size
        while missing > 0 and (self._received or self._receive()):
            parts.append(self._received[:missing])
            self._received = self._received[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)

    @override
    def readline(self) -> bytes:
        if self._received and self._source is not self.socket():
            # Somebody on the way may have added it in clear.
            raise self.abort("the server spoke before TLS began")
        while b"\n" not in self._received and self._receive():
            if len(self._received) > _MAX_LINE:
                raise self.abort("a line is too long")
        line, end, self._received = self._received.partition(b"\n")
        return line + end

    @override
    def send(self, data: ReadableBuffer) -> None:
        super().send(data)
        self._answered, self._deadline = 0, time.monotonic() + _ANSWER_SECONDS

    def _receive(self) -> bool:
        sock = self.socket()
        data = sock.recv(_RECEIVED_AT_ONCE)
        self._answered += len(data)
        if self._answered > _MAX_ANSWER or time.monotonic() > self._deadline:
            raise self.abort("an answer does not end")
        self._received, self._source = self._received + data, sock
        return bool(data)


class _TlsConnection(_Connection, imaplib.IMAP4_SSL):
    """Such a connection that begins with TLS."""


class ImapSource:
    """One folder of a mailbox.

    Args:
        mailbox: where it is.
        folder: the name of the folder.
        idle_seconds: after how many seconds without news the folder is read in any case.
    """

    def __init__(self, mailbox: ImapMailbox, folder: str, *, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._mailbox, self._folder, self._idle_seconds = mailbox, folder, idle_seconds
        self.name = f"imap/{folder}"
        #: When a message that keeps back others, by its UID, is tried again.
        self._set_aside: dict[bytes, float] = {}

    def run(self, take: Callable[[bytes], object], *, stopped: threading.Event, once: bool) -> None:
        """Take unseen messages until it is stopped, and mark them as seen.

        Args:
            take: records what a message says; if it raises, the message stays unseen.
            stopped: set when the process ends.
            once: whether to return when there is no unseen message.

        Raises:
            IMAP_ERRORS: the connection failed, or the server refused something.
        """
        for _ in range(_MAX_RECONNECTS if once else 0):
            was_set_aside = len(self._set_aside)
            try:
                return self._run(take, stopped=stopped, once=once)
            except IMAP_ERRORS:
                # A message on which the server failed is set aside, so the next connection skips it.
                if len(self._set_aside) == was_set_aside:
                    raise
                _log.warning("the source %s cannot read a message", self.name)
        return self._run(take, stopped=stopped, once=once)

    def _run(self, take: Callable[[bytes], object], *, stopped: threading.Event, once: bool) -> None:
        connection = self._connect()
        try:
            _require(connection.select(quote_folder(self._folder)))
            while not stopped.is_set():
                if self._take_unseen(connection, take, stopped=stopped):
                    continue
                if once:
                    return
                _wait(connection, stopped, seconds=self._idle_seconds)
        finally:
            _close(connection)

    def _take_unseen(
        self, connection: imaplib.IMAP4, take: Callable[[bytes], object], *, stopped: threading.Event
    ) -> bool:
        """Take some unseen messages; return whether any was taken."""
        found = _require(connection.uid("SEARCH", "UNSEEN"))
        now = time.monotonic()
        self._set_aside = {uid: until for uid, until in self._set_aside.items() if until > now}
        uids = [uid for uid in (found[0] or b"").split() if uid not in self._set_aside][:_BATCH]
        # A message that ends the connection is set aside as well: the next connection would begin with it.
        taken = [self._take_one(connection, uid, take) for uid in uids if not stopped.is_set()]
        return any(taken)

    def _take_one(self, connection: imaplib.IMAP4, uid: bytes, take: Callable[[bytes], object]) -> bool:
        """Take a message, and mark it as seen; return whether that was possible."""
        self._set_aside[uid] = time.monotonic() + _SET_ASIDE_SECONDS
        # No more than what is read at all; PEEK leaves the message unseen (RFC 3501 section 6.4.5).
        kind, parts = connection.uid("FETCH", uid.decode(), f"(BODY.PEEK[]<0.{MAX_OCTETS + 1}>)")
        if kind != "OK":
            _log.warning("the source %s cannot read a message", self.name)
            return False
        data = next((part[1] for part in parts if isinstance(part, tuple)), None)
        if data is None:
            return False  # somebody else has deleted it meanwhile
        try:
            take(data)
        except MailctlError:
            del self._set_aside[uid]
            raise
        if connection.uid("STORE", uid.decode(), "+FLAGS.SILENT", "(\\Seen)")[0] != "OK":
            _log.warning("the source %s cannot mark a message as seen", self.name)
            return False
        del self._set_aside[uid]
        return True

    def _connect(self) -> _Connection:
        box = self._mailbox
        context = ssl.create_default_context(cafile=str(box.ca_file) if box.ca_file else None)
        connection: _Connection
        if box.has_implicit_tls:
            connection = _TlsConnection(box.host, box.port, ssl_context=context, timeout=_TIMEOUT_SECONDS)
        else:
            connection = _Connection(box.host, box.port, timeout=_TIMEOUT_SECONDS)
        try:
            if not box.has_implicit_tls:
                _require(connection.starttls(ssl_context=context))
            self._sign_in(connection)
        except IMAP_ERRORS:
            # A handshake that fails has closed it.
            with contextlib.suppress(OSError):
                connection.shutdown()
            raise
        return connection

    def _sign_in(self, connection: imaplib.IMAP4) -> None:
        box = self._mailbox
        if box.tokens is None:
            _sign_in_with_password(connection, box.user, box.password)
            return
        token = box.tokens.token()
        try:
            # A server that refuses the token says why, and wants an empty answer before it ends the command.
            _require(
                connection.authenticate(
                    "XOAUTH2", lambda challenge: b"" if challenge else _xoauth2(box.user, token)
                )
            )
        except imaplib.IMAP4.error:
            # It may have expired; the next connection gets another one.
            box.tokens.token(instead_of=token)
            raise


def quote_folder(name: str) -> str:
    """Return the name of a folder in quotes and in modified UTF-7 (RFC 3501 section 5.1.3)."""
    encoded = re.sub(r"[^\x20-\x7e]+|&", lambda found: _modified_utf7(found[0]), name)
    return '"' + encoded.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _modified_utf7(text: str) -> str:
    if text == "&":
        return "&-"
    code = base64.b64encode(text.encode("utf-16-be", "replace"), altchars=b"+,").decode().rstrip("=")
    return f"&{code}-"


def _sign_in_with_password(connection: imaplib.IMAP4, user: str, password: str) -> None:
    """Sign in with SASL PLAIN (RFC 4616) where the server has it: LOGIN allows ASCII words only."""
    if "AUTH=PLAIN" in connection.capabilities:
        _require(connection.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode()))
    else:
        _require(connection.login(user, password))


def _xoauth2(user: str, token: str) -> bytes:
    return f"user={user}\x01auth=Bearer {token}\x01\x01".encode()


def _wait(connection: _Connection, stopped: threading.Event, *, seconds: float) -> None:
    """Wait until the server tells of something new, for some seconds at most."""
    if "IDLE" not in connection.capabilities:
        stopped.wait(seconds)
        _require(connection.noop())
        return
    has_news = connection.has_received
    connection.send(b"mailctl IDLE\r\n")
    while not (line := connection.readline()).startswith(b"+"):
        if not line or line.startswith(b"mailctl "):
            raise imaplib.IMAP4.abort("IDLE was refused")
        # A message that has come since the folder was read.
        has_news = True
    for _ in range(int(seconds / _POLL_SECONDS)):
        if has_news or stopped.is_set() or _has_said_more(connection):
            break
    connection.send(b"DONE\r\n")
    while not (line := connection.readline()).startswith(b"mailctl "):
        if not line:
            raise imaplib.IMAP4.abort("the connection was closed")


def _has_said_more(connection: _Connection) -> bool:
    return connection.has_received or bool(select.select([connection.socket()], [], [], _POLL_SECONDS)[0])


def _require(reply: tuple[str, Any]) -> Any:
    kind, data = reply
    if kind != "OK":
        # Without what the server says, which may quote names.
        raise imaplib.IMAP4.error("the server refused a command")
    return data


def _close(connection: imaplib.IMAP4) -> None:
    try:
        connection.logout()
    except IMAP_ERRORS:
        connection.shutdown()
