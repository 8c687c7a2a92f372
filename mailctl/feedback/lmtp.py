"""A mail server that takes only feedback: LMTP (RFC 2033) on a local socket."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mailctl.delivery_log.reports import FeedbackResult
from mailctl.domain.feedback_sources import parse_lmtp_address
from mailctl.errors import MailctlError
from mailctl.feedback.received_mail import MAX_OCTETS
from mailctl.security.address_masking import masking_logger

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable

_log = masking_logger("mailctl.feedback")

#: Seconds that a client may take for a command, and for a message.
_IDLE_SECONDS, _MESSAGE_SECONDS = 300.0, 600.0
#: Seconds in which a client that sends too much may notice the reply: closing at once would discard that.
_HANG_UP_SECONDS = 5.0
#: Sessions, each of which may keep a message in memory; and recipients of a message.
_MAX_SESSIONS, _MAX_RECIPIENTS = 50, 100
#: Octets of a command: extensions add to the 512 that RFC 5321 section 4.5.3.1.4 requires. Lines of a message
#: are limited by its size alone, as that section recommends: a bounce may quote HTML on one line.
_MAX_COMMAND = 4_096
#: Octets of what is read at once; and of what is read of a command and of a message to find its end.
_CHUNK, _MAX_LINE, _MAX_READ = 64 * 1024, 1024 * 1024, 4 * MAX_OCTETS
#: The end of a message (RFC 5321 section 4.1.1.4).
_END = (b".\r\n", b".\n")
_PATH = re.compile(rb"(?:MAIL FROM|RCPT TO):\s*<([^<>\s]{0,320})>", re.IGNORECASE)
_GREETING = (
    b"250-mailctl\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n"
    b"250-PIPELINING\r\n250 SIZE %d\r\n"
)


class _InputTooLarge(Exception):
    """A client has sent a command or a message that is too large to be read to its end."""


@dataclass
class _LmtpTransaction:
    """A message that is being handed over."""

    has_sender: bool = False
    recipients: list[str] = field(default_factory=list)


class LmtpSource:
    """Listens for mail of a mail server on this host.

    Args:
        address: HOST:PORT of a loopback address, or the path of a Unix socket.
        on_refused: counts input that is refused before it is a message; called with the name of the source.

    Raises:
        ConfigurationError: the address is neither.
    """

    def __init__(
        self, address: str, *, on_refused: Callable[[str, FeedbackResult], object] | None = None
    ) -> None:
        self.name = "lmtp"
        self._on_refused = on_refused
        self._address = parse_lmtp_address(address)
        #: The port that it listens on, once it does.
        self.port: int | None = None

    def run(self, take: Callable[..., object], *, stopped: threading.Event, once: bool) -> None:
        """Take messages until it is stopped.

        Args:
            take: records what a message says, given the message and its envelope recipient; if it raises,
                the client is asked to try again.
            stopped: set when the process ends.
            once: must be False: mail comes whenever a mail server has some.

        Raises:
            OSError: the address cannot be listened on.
        """
        if not once:
            asyncio.run(self._serve(take, stopped))

    async def _serve(self, take: Callable[..., object], stopped: threading.Event) -> None:
        sessions: set[asyncio.Task[None]] = set()

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(sessions) >= _MAX_SESSIONS:
                writer.write(b"421 4.3.2 Too many sessions; try again later\r\n")
                writer.close()
                return
            session = asyncio.create_task(self._converse(_Session(reader, writer, take, self._count)))
            sessions.add(session)
            session.add_done_callback(sessions.discard)

        where = self._address
        if where.path:
            server = await asyncio.start_unix_server(begin, sock=_bind(where.path), limit=_CHUNK)
        else:
            server = await asyncio.start_server(begin, where.host, where.port, limit=_CHUNK)
            self.port = server.sockets[0].getsockname()[1]
        await asyncio.to_thread(stopped.wait)
        server.close()
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions)

    async def _converse(self, session: _Session) -> None:
        try:
            await session.run()
        except asyncio.CancelledError:
            session.say(b"421 4.3.2 Stopping; try again later")
        except TimeoutError:
            session.say(b"421 4.4.2 Too slow")
        except _InputTooLarge:
            await self._count(FeedbackResult.OVERSIZED)
            await session.hang_up(b"421 4.3.0 Too much")
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client is gone
        finally:
            session.close()

    async def _count(self, result: FeedbackResult) -> None:
        if self._on_refused is not None:
            await asyncio.to_thread(self._on_refused, self.name, result)


def _bind(path: str) -> socket.socket:
    """Return a socket at a path, in place of one that a process has left there.

    Raises:
        OSError: a process listens there, or what is there is no socket.
    """
    if Path(path).is_socket() and not _has_listener(path):
        Path(path).unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    try:
        bound.bind(path)
        Path(path).chmod(0o660)
    except OSError:
        bound.close()
        raise
    return bound


def _has_listener(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(0)  # it connects at once or not at all
        try:
            client.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            pass  # too many clients wait for it
        return True


class _Session:
    """One connection of a client."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        take: Callable[..., object],
        count: Callable[[FeedbackResult], Awaitable[None]],
    ) -> None:
        self._reader, self._writer, self._take, self._count = reader, writer, take, count
        self._now = _LmtpTransaction()

    async def run(self) -> None:
        """Answer commands until the client quits.

        Raises:
            OSError: the client is gone, or (TimeoutError) too slow.
            IncompleteReadError: the client is gone.
            _InputTooLarge: the client has sent more than is read.
        """
        self.say(b"220 mailctl LMTP")
        while (line := await self._read_line()).strip().upper() != b"QUIT":
            await self._execute(line)
            await self._drain()
        self.say(b"221 2.0.0 Bye")
        await self._drain()

    def say(self, line: bytes) -> None:
        """Send a reply."""
        self._writer.write(line + b"\r\n")

    async def hang_up(self, line: bytes) -> None:
        """Send a last reply to a client that is still sending, and discard what it sends meanwhile."""
        self.say(line)
        with contextlib.suppress(OSError):
            self._writer.write_eof()
            async with asyncio.timeout(_HANG_UP_SECONDS):
                while await self._reader.read(_CHUNK):
                    pass

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    async def _execute(self, line: bytes) -> None:
        command = line.strip().upper()
        if len(line) > _MAX_COMMAND:
            self.say(b"500 5.5.2 Line too long")
            await self._count(FeedbackResult.MALFORMED)
        elif command == b"DATA":
            await self._data()
        else:
            self._answer(command, line)

    def _answer(self, command: bytes, line: bytes) -> None:
        if command.startswith((b"LHLO", b"EHLO", b"HELO")):
            self._now = _LmtpTransaction()
            self._writer.write(_GREETING % MAX_OCTETS)
        elif command.startswith(b"MAIL FROM:"):
            self._now = _LmtpTransaction(has_sender=True)
            self.say(b"250 2.1.0 Ok")
        elif command.startswith(b"RCPT TO:"):
            self._rcpt(line)
        elif command == b"RSET":
            self._now = _LmtpTransaction()
            self.say(b"250 2.0.0 Ok")
        elif command.startswith((b"NOOP", b"VRFY")):
            self.say(b"252 2.0.0 Ok" if command.startswith(b"VRFY") else b"250 2.0.0 Ok")
        else:
            self.say(b"500 5.5.2 Unknown command")

    def _rcpt(self, line: bytes) -> None:
        found = _PATH.match(line.strip())
        if found is None or not self._now.has_sender:
            self.say(b"503 5.5.1 MAIL first" if found else b"501 5.1.3 No address")
        elif len(self._now.recipients) >= _MAX_RECIPIENTS:
            self.say(b"452 4.5.3 Too many recipients")
        else:
            self._now.recipients.append(found[1].decode("utf-8", "replace"))
            self.say(b"250 2.1.5 Ok")

    async def _data(self) -> None:
        if not self._now.recipients:
            self.say(b"503 5.5.1 RCPT first")
            return
        self.say(b"354 Go ahead")
        await self._drain()
        # One timer for all lines: a message may have millions of them.
        async with asyncio.timeout(_MESSAGE_SECONDS):
            message = await self._read_message()
        for recipient in self._now.recipients:
            self.say(await self._record(message, recipient))
        self._now = _LmtpTransaction()

    async def _record(self, message: bytes, recipient: str) -> bytes:
        try:
            # One that is too large, too: it is counted.
            await asyncio.to_thread(self._take, message, recipient)
        except MailctlError:
            return b"451 4.3.0 Try again later"
        except Exception as error:
            _log.error("a message could not be accepted: %s", type(error).__name__)
            return b"451 4.3.0 Try again later"
        return b"250 2.0.0 Taken" if len(message) <= MAX_OCTETS else b"552 5.3.4 Too large"

    async def _read_message(self) -> bytes:
        """Return a message without the dots that were added (RFC 5321 section 4.5.2).

        Of a message that is too large, only one octet more than the limit is kept.
        """
        message, size, begins_line = bytearray(), 0, True
        while not ((chunk := await self._read_chunk()) in _END and begins_line):
            text = chunk.removeprefix(b".") if begins_line else chunk
            message += text[: max(0, MAX_OCTETS + 1 - len(message))]
            size = _checked_size(size + len(chunk), _MAX_READ)
            begins_line = chunk.endswith(b"\n")
        return bytes(message)

    async def _read_line(self) -> bytes:
        """Return a command with its end, or the beginning of one that is too long."""
        async with asyncio.timeout(_IDLE_SECONDS):
            line = chunk = await self._read_chunk()
            size = len(line)
            while not chunk.endswith(b"\n"):
                chunk = await self._read_chunk()
                size = _checked_size(size + len(chunk), _MAX_LINE)
            return line

    async def _read_chunk(self) -> bytes:
        """Return the rest of a line with its end, or as much of a longer one as is kept."""
        try:
            return await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            return await self._reader.readexactly(error.consumed)

    async def _drain(self) -> None:
        async with asyncio.timeout(_IDLE_SECONDS):
            await self._writer.drain()


def _checked_size(size: int, limit: int) -> int:
    """Return the number of octets that have been read.

    Raises:
        _InputTooLarge: the number exceeds the limit.
    """
    if size > limit:
        raise _InputTooLarge
    return size
