"""A mail server that takes only feedback: LMTP (RFC 2033) on a local socket."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mailctl.errors import ConfigurationError, MailctlError
from mailctl.feedback.received_mail import MAX_OCTETS
from mailctl.security.address_masking import masking_logger

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

_log = masking_logger("mailctl.feedback")

#: Seconds that a client may take between two lines.
_IDLE_SECONDS = 300.0
_MAX_RECIPIENTS = 100
#: Octets of a line (RFC 5321 section 4.5.3.1.6 requires 1,000; some programs ignore that).
_MAX_LINE = 64 * 1024
_PATH = re.compile(rb"(?:MAIL FROM|RCPT TO):\s*<([^<>\s]{0,320})>", re.IGNORECASE)
_GREETING = (
    b"250-mailctl\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n"
    b"250-PIPELINING\r\n250 SIZE %d\r\n"
)
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass
class _LmtpTransaction:
    """A message that is being handed over."""

    has_sender: bool = False
    recipients: list[str] = field(default_factory=list)


class LmtpSource:
    """Listens for mail of a mail server on this host.

    Args:
        address: HOST:PORT of a loopback address, or the path of a Unix socket.

    Raises:
        ConfigurationError: the address is neither.
    """

    def __init__(self, address: str) -> None:
        self.name = "lmtp"
        host, separator, port = address.rpartition(":")
        self._path = address if address.startswith("/") else ""
        self._host = host.strip("[]")
        if not self._path and not (separator and port.isdigit() and self._host in _LOOPBACK):
            raise ConfigurationError(
                "MAILCTL_FEEDBACK_LMTP is neither a port of this host nor a socket.",
                fix="Give one such as 127.0.0.1:2424 or /run/mailctl/feedback.sock.",
            )
        self._port = 0 if self._path else int(port)
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
            session = asyncio.create_task(_converse(reader, writer, take))
            sessions.add(session)
            session.add_done_callback(sessions.discard)

        if self._path:
            server = await asyncio.start_unix_server(begin, sock=_bind(self._path), limit=_MAX_LINE)
        else:
            server = await asyncio.start_server(begin, self._host, self._port, limit=_MAX_LINE)
            self.port = server.sockets[0].getsockname()[1]
        await asyncio.to_thread(stopped.wait)
        server.close()
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions)


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, take: Callable[..., object]
) -> None:
    try:
        await _Session(reader, writer, take).run()
    except asyncio.CancelledError:
        writer.write(b"421 4.3.2 Stopping; try again later\r\n")
    except (OSError, asyncio.IncompleteReadError, ValueError, asyncio.LimitOverrunError):
        pass  # the client is gone, or speaks something else
    finally:
        writer.close()


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
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, take: Callable[..., object]
    ) -> None:
        self._reader, self._writer, self._take = reader, writer, take
        self._now = _LmtpTransaction()

    async def run(self) -> None:
        """Answer commands until the client quits."""
        self._say(b"220 mailctl LMTP")
        while line := await self._read_line():
            command = line.strip().upper()
            if command == b"QUIT":
                self._say(b"221 2.0.0 Bye")
                break
            if command == b"DATA":
                await self._data()
            else:
                self._answer(command, line)
            await self._writer.drain()
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def _answer(self, command: bytes, line: bytes) -> None:
        if command.startswith((b"LHLO", b"EHLO", b"HELO")):
            self._now = _LmtpTransaction()
            self._writer.write(_GREETING % MAX_OCTETS)
        elif command.startswith(b"MAIL FROM:"):
            self._now = _LmtpTransaction(has_sender=True)
            self._say(b"250 2.1.0 Ok")
        elif command.startswith(b"RCPT TO:"):
            self._rcpt(line)
        elif command == b"RSET":
            self._now = _LmtpTransaction()
            self._say(b"250 2.0.0 Ok")
        elif command.startswith((b"NOOP", b"VRFY")):
            self._say(b"252 2.0.0 Ok" if command.startswith(b"VRFY") else b"250 2.0.0 Ok")
        else:
            self._say(b"500 5.5.2 Unknown command")

    def _rcpt(self, line: bytes) -> None:
        found = _PATH.match(line.strip())
        if found is None or not self._now.has_sender:
            self._say(b"503 5.5.1 MAIL first" if found else b"501 5.1.3 No address")
        elif len(self._now.recipients) >= _MAX_RECIPIENTS:
            self._say(b"452 4.5.3 Too many recipients")
        else:
            self._now.recipients.append(found[1].decode("utf-8", "replace"))
            self._say(b"250 2.1.5 Ok")

    async def _data(self) -> None:
        if not self._now.recipients:
            self._say(b"503 5.5.1 RCPT first")
            return
        self._say(b"354 Go ahead")
        await self._writer.drain()
        message = await self._read_message()
        for recipient in self._now.recipients:
            self._say(await self._record(message, recipient))
        self._now = _LmtpTransaction()

    async def _record(self, message: bytes, recipient: str) -> bytes:
        try:
            # One that is too large, too: it is counted.
            await asyncio.to_thread(self._take, message, recipient)
        except MailctlError:
            return b"451 4.3.0 Try again later"
        except Exception as error:
            _log.error("a message could not be taken: %s", type(error).__name__)
            return b"451 4.3.0 Try again later"
        return b"250 2.0.0 Taken" if len(message) <= MAX_OCTETS else b"552 5.3.4 Too large"

    async def _read_message(self) -> bytes:
        """Return a message without the dots that were added (RFC 5321 section 4.5.2).

        No more of one that is too large is kept than what shows that.
        """
        lines, size = [], 0
        while (line := await self._read_line()) not in (b".\r\n", b".\n", b""):
            line = line[1:] if line.startswith(b".") else line
            if size <= MAX_OCTETS:
                lines.append(line)
            size += len(line)
        if not line:
            raise asyncio.IncompleteReadError(b"", None)
        return b"".join(lines)

    async def _read_line(self) -> bytes:
        return await asyncio.wait_for(self._reader.readline(), _IDLE_SECONDS)

    def _say(self, line: bytes) -> None:
        self._writer.write(line + b"\r\n")
