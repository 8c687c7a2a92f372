"""The SMTP protocol on an open connection, with pipelining (RFC 2920).

aiosmtplib opens the connection, encrypts it and signs in. It cannot pipeline commands, so that this module
takes over the connection afterwards.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass

from aiosmtplib import SMTPReadTimeoutError, SMTPResponseException, SMTPServerDisconnected
from typing_extensions import override

#: The longest reply in octets; real ones have a few hundred.
_LONGEST_REPLY = 32 * 1024
#: A line of a reply: code, hyphen if another line follows, and text (RFC 5321 section 4.2).
_REPLY_LINE = re.compile(rb"([2-5]\d\d)(-)?[ \t]?([^\r\n]*)\r?\n")
_UNREADABLE = -1


@dataclass(frozen=True)
class RawReply:
    """A reply to one command; the lines of its text are joined by line feeds."""

    code: int
    text: str


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
        self._buffer += data
        if len(self._buffer) + sum(map(len, self._lines)) > _LONGEST_REPLY:
            self._fail_unreadable(self._buffer)
            return
        while found := _REPLY_LINE.match(self._buffer):
            self._buffer = self._buffer[found.end() :]
            self._lines.append(found[3].strip())
            if not found[2]:
                text = b"\n".join(self._lines).decode("utf-8", "surrogateescape")
                self._replies.append(RawReply(int(found[1]), text))
                self._lines = []
        if len(self._replies) > self.outstanding or b"\n" in self._buffer:
            self._fail_unreadable(self._buffer or self._replies.pop().text.encode("utf-8", "replace"))
        elif self._replies:
            self._wake()

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
        self._fail(SMTPResponseException(_UNREADABLE, said[:100].decode("utf-8", "replace").strip()))

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
