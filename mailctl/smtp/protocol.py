"""The SMTP protocol on an open connection, with pipelining (RFC 2920).

aiosmtplib opens the connection, encrypts it and signs in. It cannot pipeline commands, so that this module
takes over the connection afterwards.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass

import aiosmtplib
from aiosmtplib import SMTPReadTimeoutError, SMTPResponseException, SMTPServerDisconnected
from typing_extensions import override

#: The longest reply in octets, line ends included; real ones have a few hundred.
MAX_REPLY_OCTETS = 32 * 1024
#: The longest reply in lines, empty ones included; real ones have a few.
MAX_REPLY_LINES = 256
#: A line of a reply: code, hyphen if another line follows, and text (RFC 5321 section 4.2).
_REPLY_LINE = re.compile(rb"([2-5]\d\d)(-)?[ \t]?([^\r\n]*)\r?\n")
_UNREADABLE = -1


@dataclass(frozen=True)
class RawReply:
    """A reply to one command; the lines of its text are joined by line feeds."""

    code: int
    text: str


class SmtpClient(aiosmtplib.SMTP):
    """Opens a session, and remembers whether there was a connection."""

    has_connected = False

    @override
    def close(self) -> None:
        # It forgets the connection, also when there is no greeting.
        self.has_connected = self.has_connected or self.transport is not None
        super().close()


class SmtpProtocol(asyncio.Protocol):
    """Sends commands and reads replies on a connection.

    Args:
        transport: the connection, without a pending command.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._buffer = b""
        self._lines: list[bytes] = []
        #: The octets of the reply whose last line has not come yet, without what is in the buffer.
        self._octets = 0
        self._replies: deque[RawReply] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        #: The number of commands whose replies have not been read.
        self.outstanding = 0
        transport.set_protocol(self)

    @property
    def is_usable(self) -> bool:
        """Whether the connection is open, and the server has sent no unexpected data."""
        return self._error is None and not self._transport.is_closing()

    def write(self, data: bytes, *, commands: int = 1) -> None:
        """Send commands or a message body.

        Args:
            data: the commands, or the body.
            commands: the number of replies to expect.

        Raises:
            SMTPServerDisconnected: the connection is closed; nothing was sent.
        """
        if not self.is_usable:
            raise self._error or SMTPServerDisconnected("Connection lost")
        self._transport.write(data)
        self.outstanding += commands

    async def read(self, *, within: float) -> RawReply:
        """Return the next reply.

        Args:
            within: the time limit in seconds.

        Raises:
            SMTPServerDisconnected: the connection was closed first.
            SMTPReadTimeoutError: the time is up.
            SMTPResponseException: the server sent something that is not a reply.
        """
        while not self._replies:
            if self._error is not None:
                raise self._error
            self._reader = self._loop.create_future()
            limit = self._loop.call_later(within, self._fail, SMTPReadTimeoutError("no reply in time"))
            try:
                await self._reader
            finally:
                limit.cancel()
                self._reader = None
        self.outstanding -= 1
        return self._replies.popleft()

    @override
    def data_received(self, data: bytes) -> None:
        if self._error is not None:
            return  # nobody reads it, so that it is not kept
        self._buffer += data
        while self._has_room and (found := _REPLY_LINE.match(self._buffer)):
            self._buffer = self._buffer[found.end() :]
            self._add_line(found[3].strip(), octets=found.end())
            if not found[2] and self._octets <= MAX_REPLY_OCTETS:
                self._end_reply(int(found[1]))
        self._check_rest()

    @property
    def _has_room(self) -> bool:
        is_short = len(self._lines) < MAX_REPLY_LINES and self._octets <= MAX_REPLY_OCTETS
        return is_short and len(self._replies) <= self.outstanding

    def _add_line(self, text: bytes, *, octets: int) -> None:
        self._lines.append(text)
        self._octets += octets

    def _end_reply(self, code: int) -> None:
        text = b"\n".join(self._lines).decode("utf-8", "surrogateescape")
        self._replies.append(RawReply(code, text))
        self._lines, self._octets = [], 0

    def _check_rest(self) -> None:
        """Fail if what the server has sent is more than the expected replies; else wake the reader."""
        is_too_long = self._octets + len(self._buffer) > MAX_REPLY_OCTETS
        if is_too_long or not self._has_room or b"\n" in self._buffer:
            self._fail_unreadable(self._buffer or self._last_text)
        elif self._replies:
            self._wake()

    @property
    def _last_text(self) -> bytes:
        return self._replies[-1].text.encode("utf-8", "replace") if self._replies else b"".join(self._lines)

    @override
    def eof_received(self) -> bool:
        self._fail(SMTPServerDisconnected("Unexpected EOF received"))
        return False  # closes the transport

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        error = SMTPServerDisconnected("Connection lost")
        error.__cause__ = exc
        self._fail(error)

    def _fail_unreadable(self, said: bytes) -> None:
        # From now on, replies cannot be assigned to commands.
        self._buffer, self._lines = b"", []
        while len(self._replies) > self.outstanding:
            self._replies.pop()
        self._fail(SMTPResponseException(_UNREADABLE, said[:100].decode("utf-8", "replace").strip()))

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
