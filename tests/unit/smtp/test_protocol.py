"""Replies are assigned to commands, in whatever pieces they arrive."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtplib import SMTPReadTimeoutError, SMTPResponseException, SMTPServerDisconnected

from mailctl.smtp.protocol import MAX_REPLY_LINES, MAX_REPLY_OCTETS, RawReply, SmtpProtocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class RecordingTransport(asyncio.Transport):
    """Records what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Accept any protocol."""

    def write(self, data: Any) -> None:
        """Record the data."""
        self.written += data

    def is_closing(self) -> bool:
        """Return whether the transport was closed."""
        return self.is_closed


def run(test: Callable[[SmtpProtocol, RecordingTransport], Awaitable[None]]) -> None:
    async def main() -> None:
        transport = RecordingTransport()
        await test(SmtpProtocol(transport), transport)

    asyncio.run(main())


def test_a_reply_may_arrive_in_pieces() -> None:
    """Its lines are joined."""

    async def test(protocol: SmtpProtocol, transport: RecordingTransport) -> None:
        protocol.write(b"RCPT\r\n")
        for piece in (b"55", b"0-no\r", b"\n550 such ", b"user\r\n"):
            protocol.data_received(piece)
        assert await protocol.read(within=1) == RawReply(550, "no\nsuch user")
        assert (protocol.outstanding, transport.written) == (0, b"RCPT\r\n")

    run(test)


def test_pipelined_commands_get_their_replies_in_order() -> None:
    """Also if all replies arrive at once."""

    async def test(protocol: SmtpProtocol, transport: RecordingTransport) -> None:
        protocol.write(b"MAIL\r\nRCPT\r\nDATA\r\n", commands=3)
        protocol.data_received(b"250 ok\r\n550 no\r\n354 go\r\n")
        assert [(await protocol.read(within=1)).code for _ in range(3)] == [250, 550, 354]

    run(test)


@pytest.mark.parametrize(
    "data", [b"hello\r\n", b"250 ok\r\n250 unasked\r\n", b"9" * 40_000, b"250-" + b"x" * 40_000, b"199 x\r\n"]
)
def test_anything_else_than_the_expected_replies_ends_the_session(data: bytes) -> None:
    """Replies could be assigned to the wrong commands afterwards."""

    async def test(protocol: SmtpProtocol, transport: RecordingTransport) -> None:
        protocol.write(b"RCPT\r\n")
        protocol.data_received(data)
        assert not protocol.is_usable
        replies = [protocol.read(within=1) for _ in range(2)]
        results = await asyncio.gather(*replies, return_exceptions=True)
        assert isinstance(results[-1], SMTPResponseException)

    run(test)


@pytest.mark.parametrize("line", [b"250-\r\n", b"250-x\r\n", b"250-" + b"x" * 1000 + b"\r\n"])
def test_a_reply_without_end_ends_the_session(line: bytes) -> None:
    """Its lines and its octets are bounded, also if the lines are empty; then nothing more is kept."""

    async def test(protocol: SmtpProtocol, transport: RecordingTransport) -> None:
        protocol.write(b"RCPT\r\n")
        for _ in range(max(MAX_REPLY_LINES, MAX_REPLY_OCTETS // len(line)) + 1):
            protocol.data_received(line)
        with pytest.raises(SMTPResponseException):
            await protocol.read(within=1)
        protocol.data_received(b"x" * MAX_REPLY_OCTETS)
        assert (protocol._buffer, protocol._lines) == (b"", [])

    run(test)


def test_the_longest_reply_is_read() -> None:
    """In lines and in octets."""

    async def test(protocol: SmtpProtocol, transport: RecordingTransport) -> None:
        lines = [b"250-x\r\n"] * (MAX_REPLY_LINES - 1)
        protocol.write(b"MAIL\r\nRCPT\r\n", commands=2)
        for line in (*lines, b"250 end\r\n"):
            protocol.data_received(line)
        protocol.data_received(b"250 " + b"x" * (MAX_REPLY_OCTETS - 6) + b"\r\n")
        replies = [await protocol.read(within=1) for _ in range(2)]
        assert len(replies[0].text.splitlines()) == MAX_REPLY_LINES
        assert len(replies[1].text) == MAX_REPLY_OCTETS - 6

    run(test)


def test_a_reply_that_was_not_requested_makes_an_idle_session_unusable() -> None:
    """Such as 421 before the server closes the connection."""

    async def test(protocol: SmtpProtocol, transport: RecordingTransport) -> None:
        assert protocol.is_usable
        protocol.data_received(b"421 bye\r\n")
        assert not protocol.is_usable
        with pytest.raises(SMTPResponseException):
            protocol.write(b"MAIL\r\n")
        assert transport.written == b""

    run(test)


def test_a_lost_connection_is_an_error_of_the_pending_command() -> None:
    """With its cause."""

    async def test(protocol: SmtpProtocol, transport: RecordingTransport) -> None:
        protocol.write(b"RCPT\r\n")
        cause = ConnectionResetError()
        protocol.connection_lost(cause)
        with pytest.raises(SMTPServerDisconnected) as caught:
            await protocol.read(within=1)
        assert caught.value.__cause__ is cause

    run(test)


def test_a_reply_that_came_before_the_end_is_still_read() -> None:
    """A server may refuse a message and close the connection."""

    async def test(protocol: SmtpProtocol, transport: RecordingTransport) -> None:
        protocol.write(b"RCPT\r\n")
        protocol.data_received(b"554 no\r\n")
        assert protocol.eof_received() is False
        assert (await protocol.read(within=1)).code == 554
        assert not protocol.is_usable

    run(test)


def test_nothing_is_written_to_a_closing_connection() -> None:
    """The caller learns that nothing was sent."""

    async def test(protocol: SmtpProtocol, transport: RecordingTransport) -> None:
        transport.is_closed = True
        with pytest.raises(SMTPServerDisconnected):
            protocol.write(b"MAIL\r\n")
        assert (transport.written, protocol.outstanding) == (b"", 0)

    run(test)


def test_waiting_for_a_reply_has_a_limit() -> None:
    """The session cannot be used afterwards: the reply may still come."""

    async def test(protocol: SmtpProtocol, transport: RecordingTransport) -> None:
        protocol.write(b"RCPT\r\n")
        with pytest.raises(SMTPReadTimeoutError):
            await protocol.read(within=0)
        assert not protocol.is_usable

    run(test)
