"""Closes connections whose client does not send or take anything in time: uvicorn itself waits for ever."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import h11
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

#: Seconds for what has to arrive next: the line and the headers of a request, and then its body. A webhook,
#: which answers a body that is late, waits for less.
_SECONDS: Mapping[Any, float] = {h11.IDLE: 10.0, h11.SEND_BODY: 60.0}
#: Seconds without the client taking any octet of a response.
_UNREAD_SECONDS = 60.0


class PunctualProtocol(H11Protocol):
    """A connection over which each request has to arrive in time, however slowly its client sends.

    A client that does not read its responses is given up, too, where the system can do that (Linux).
    """

    #: What has to arrive next, and until when.
    _expected: Any = None
    _deadline: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _limit_unread(transport)
        self._set_deadline()

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._set_deadline()

    @override
    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: an upgrade is an offer, which a server may ignore (RFC 9110 section 7.8)."""

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        # Of the next request, all that will ever come may be here already.
        if self.conn.their_state is h11.SEND_BODY:
            self._set_deadline()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        super().connection_lost(exc)

    def _set_deadline(self) -> None:
        """Give what has to arrive next its time, unless it has it already."""
        if self.conn.their_state is self._expected:
            return
        self._cancel_deadline()
        self._expected = self.conn.their_state
        if (seconds := _SECONDS.get(self._expected)) is not None:
            self._deadline = self.loop.call_later(seconds, self.transport.close)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _limit_unread(transport: asyncio.Transport) -> None:
    """Let the system end a connection of which nothing has been taken for a while (RFC 5482)."""
    connection = transport.get_extra_info("socket")
    if hasattr(socket, "TCP_USER_TIMEOUT") and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(_UNREAD_SECONDS * 1000))
